"""What a check may do to a target beside calling it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

HookName = Literal["start", "stop", "kill", "fault", "rss", "stats", "metrics"]
Hook = Callable[[], Awaitable[str]]
"""Does what its name says.

`fault` ends a process of the engine, one rank where there are several, and leaves the server. What a hook returns
matters for three alone: `rss` (bytes, of all processes), `metrics` (text in Prometheus' format) and `stats`, a JSON
object that may tell `processes` (of the server and everything that it started, 0 once it has ended), their open `files`
and their `threads`.
"""

HOOK_SECONDS = 120.0
METRICS_SECONDS = 10.0


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
        """Call a hook that is there. Raises `HookFailed` when it fails or takes longer than `HOOK_SECONDS`."""
        try:
            async with asyncio.timeout(HOOK_SECONDS):
                return await self.known[name]()
        except (OSError, TimeoutError) as error:
            raise HookFailed(f"hook {name}: {error or 'took too long'}") from error

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
    """Return a hook that runs a command. It raises `HookFailed` when the command exits with another code than 0."""

    async def run() -> str:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        if process.returncode != 0:
            words = errors.decode(errors="replace").strip() or "no message"
            raise HookFailed(f"hook {name}: expected {command[0]} to exit with 0, found {process.returncode}: {words}")
        return output.decode(errors="replace").strip()

    return run
