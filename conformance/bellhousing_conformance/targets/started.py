"""A target that the suite starts by itself: every hook comes with it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bellhousing.launch import ServerProcess
from bellhousing_conformance.calls import Address
from bellhousing_conformance.targets.hooks import HookFailed, Hooks
from bellhousing_conformance.targets.target import Target

LOAD_SECONDS = 600.0


@asynccontextmanager
async def started(
    models: Sequence[Mapping[str, Any]], *, python: Path | None = None, load_seconds: float = LOAD_SECONDS
) -> AsyncIterator[Target]:
    """Serve models for the body, as `bellhousing serve` would, and end everything. The first model is judged.

    `python` is the interpreter of the environment that has the backend, this one unless told. Raises what
    `ServerProcess.wait_serving` raises.
    """
    async with ServerProcess(models, python=python) as server:
        await server.wait_serving(load_seconds)
        yield replace(Target(Address(server.address)), model=str(models[0].get("name", "")), hooks=hooks_of(server))


def hooks_of(server: ServerProcess) -> Hooks:
    """Return the hooks of a server. `start` returns before it serves, `stop` when it has ended."""

    async def start() -> str:
        await server.start()
        return ""

    async def stop() -> str:
        await server.stop()
        return ""

    async def kill() -> str:
        await server.kill()
        return ""

    async def rss() -> str:
        return str(_resident_bytes(server.pid))

    return Hooks({"start": start, "stop": stop, "kill": kill, "rss": rss})


def _resident_bytes(pid: int | None) -> int:
    """Return the resident memory of a process and all below it."""
    import psutil

    if pid is None:
        raise HookFailed("hook rss: the server does not run")
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
    return total
