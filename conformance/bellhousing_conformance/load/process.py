"""The sender's own process, and how a run is started in one.

`python -m bellhousing_conformance.load.process JOB FOLDER` sends a job and writes its rows; its standard output has a
line of JSON for each report of progress, and one for the error that ended it.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bellhousing.errors import BellhousingError, ConfigurationError, EngineUnavailable
from bellhousing_conformance.load.clients.client import TOKEN_VARIABLE
from bellhousing_conformance.load.job import Job, read_job, write_job
from bellhousing_conformance.load.record import RunInfo, Sent, forget_load, read_rows, read_run, write_load
from bellhousing_conformance.load.sender import Progress, Sender

MODULE = "bellhousing_conformance.load.process"
FAILED = 3
LAST_WORDS = 400


async def run_load(
    job: Job, folder: Path, told: Callable[[Progress], None] = lambda _: None, *, token: str = ""
) -> tuple[list[Sent], RunInfo]:
    """Send a job from a process of its own; return the rows and what is known of the run. Both are in the folder.

    `token` is the bearer token that the endpoint asks for.

    Raises `EngineUnavailable` when nobody answers at the endpoint, `ConfigurationError` when the sender cannot send or
    write; then the folder has no file of the run.
    """
    _empty(folder)
    with tempfile.TemporaryDirectory(prefix="bellhousing-load-") as place:
        file = Path(place) / "job"
        write_job(job, file)
        await _sent([str(file), str(folder)], told, token)
    return read_rows(folder), read_run(folder)


def _empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"folder {str(folder)!r}: expected a folder, found {error.strerror}") from error
    forget_load(folder)


async def _sent(arguments: list[str], told: Callable[[Progress], None], token: str) -> None:
    variables = {**os.environ, TOKEN_VARIABLE: token}
    pipe = asyncio.subprocess.PIPE
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, *arguments, stdout=pipe, stderr=pipe, env=variables
    )
    try:
        said, words = await asyncio.gather(_said(sender.stdout, told), _read(sender.stderr))
        await sender.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            sender.kill()  # nothing where it has ended
        await sender.wait()
    if sender.returncode == 0:
        return
    if said:
        kind = EngineUnavailable if said["is_unavailable"] else ConfigurationError
        raise kind(said["error"])
    last = words[-LAST_WORDS:].strip() or f"exit code {sender.returncode}"
    raise ConfigurationError(f"the sender ended before the run did: {last}")


async def _said(lines: asyncio.StreamReader | None, told: Callable[[Progress], None]) -> dict[str, Any] | None:
    """Pass progress on; return the error that the sender told, if any."""
    error = None
    async for line in lines or ():  # type: ignore[union-attr]
        found = json.loads(line)
        if "error" in found:
            error = found
        else:
            told(Progress(**found))
    return error


async def _read(words: asyncio.StreamReader | None) -> str:
    return (await words.read()).decode(errors="replace") if words else ""


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Send a job; return the exit code."""
    file, folder = map(Path, arguments)
    try:
        rows, info = asyncio.run(Sender(read_job(file), lambda progress: _say(asdict(progress))).run())
        write_load(rows, info, folder)
    except BellhousingError as error:
        _say({"error": error.message, "is_unavailable": isinstance(error, EngineUnavailable)})
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
