"""What a check may do to a target beside calling it."""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, Literal

HookName = Literal["start", "stop", "fault", "rss", "stats", "metrics"]
Hook = Callable[[], Awaitable[str]]
"""Does what its name says.

`fault` ends a process of the engine, one rank where there are several, and leaves the server. What a hook returns
matters for three alone: `rss` (bytes, of all processes), `metrics` (text in Prometheus' format) and `stats`, a JSON
object that may tell `processes` (of the server and everything that it started, 0 once it has ended), their open `files`
and their `threads`.
"""

HOOK_SECONDS = 120.0
METRICS_SECONDS = 10.0
SHOWN = 200
"""Characters of an answer that an error quotes."""

STATS = ("processes", "files", "threads")


@dataclass(frozen=True, slots=True)
class Form:
    """The form of what a hook returns, in words too."""

    words: str
    is_of: Callable[[str], bool]


def _is_stats(answer: str) -> bool:
    try:
        told = json.loads(answer)
    except ValueError:
        return False
    return isinstance(told, dict) and all(name in STATS and type(value) is int for name, value in told.items())


FORMS: Mapping[HookName, Form] = {
    "rss": Form("a number of bytes", str.isdecimal),
    "stats": Form(f"a JSON object of whole numbers, some of {', '.join(STATS)}", _is_stats),
}


class HookFailed(Exception):
    """A hook did not do its work: the target is not to blame."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks that a target has."""

    known: Mapping[HookName, Hook] = field(default_factory=dict)

    def has(self, *names: HookName) -> bool:
        """Tell whether all of these are there."""
        return all(name in self.known for name in names)

    async def call(self, name: HookName) -> str:
        """Call a hook that is there.

        Raises `HookFailed` when it fails, takes longer than `HOOK_SECONDS` or returns something else than `Hook` says.
        """
        try:
            async with asyncio.timeout(HOOK_SECONDS):
                answer = await self.known[name]()
        except (OSError, TimeoutError) as error:
            raise HookFailed(f"hook {name}: {str(error) or f'took longer than {HOOK_SECONDS:g} s'}") from error
        if name in FORMS and not FORMS[name].is_of(answer):
            raise HookFailed(f"hook {name}: expected {FORMS[name].words}, found {answer[:SHOWN]!r}")
        return answer

    def without(self, *names: HookName) -> "Hooks":
        """Return the hooks but for some."""
        return replace(self, known={name: hook for name, hook in self.known.items() if name not in names})


def metrics_hook(url: str) -> Hook:
    """Return the hook `metrics` of a URL that Prometheus would scrape. It raises `HookFailed` unless that answers."""

    async def scrape() -> str:
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=METRICS_SECONDS)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HookFailed(f"hook metrics: {url}: {type(error).__name__}: {error}") from error
        if answer.status != 200:
            raise HookFailed(f"hook metrics: {url}: expected status 200, found {answer.status}")
        return text

    return scrape


def command_hook(name: str, command: Sequence[str]) -> Hook:
    """Return a hook that runs a command. It raises `HookFailed` when the command exits with another code than 0.

    What the command leaves in the background may go on: the hook returns when the command itself has ended.
    """

    async def run() -> str:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:  # a pipe would stay open
            code = await _exit_code(command, output, errors)
            if code != 0:
                words = _text(errors) or "no message"
                raise HookFailed(f"hook {name}: expected {command[0]} to exit with 0, found {code}: {words}")
            return _text(output)

    return run


async def _exit_code(command: Sequence[str], output: IO[bytes], errors: IO[bytes]) -> int:
    """Return the exit code of a command; one that is waited for no longer is killed."""
    process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=errors)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()
