"""A target that the suite starts by itself: every hook comes with it."""

import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bellhousing.errors import ConfigurationError
from bellhousing.launch import ServerProcess
from bellhousing.process.ports import free_port
from bellhousing.sources import resolve
from bellhousing_conformance.calls import Address
from bellhousing_conformance.targets.adapters import write_adapters
from bellhousing_conformance.targets.faults import fault_hook, mortal
from bellhousing_conformance.targets.hooks import Hook, HookFailed, HookName, Hooks, metrics_hook
from bellhousing_conformance.targets.target import Target

LOAD_SECONDS = 600.0
METRICS_PORT = "BELLHOUSING_PROMETHEUS_PORT"
"""The setting of the plugin that tells metrics; a server without it takes no notice."""

MOST_QUEUED = 128
"""A queue that a test can fill, and that holds the checks' own requests."""


@asynccontextmanager
async def started(
    models: Sequence[Mapping[str, Any]], *, python: Path | None = None, load_seconds: float = LOAD_SECONDS
) -> AsyncIterator[Target]:
    """Serve models for the body, as `bellhousing serve` would, and end everything. The first model is judged.

    `python` is the interpreter of the environment that has the backend, this one unless told. Raises
    `ConfigurationError` when it cannot be run, and what `ServerProcess.wait_serving` raises.
    """
    async with launched(models, python=python, load_seconds=load_seconds) as (_, target):
        yield target


@asynccontextmanager
async def launched(
    models: Sequence[Mapping[str, Any]], *, python: Path | None = None, load_seconds: float = LOAD_SECONDS
) -> AsyncIterator[tuple[ServerProcess, Target]]:
    """Do the same and yield the server too.

    The first model has a queue of `MOST_QUEUED` unless told, and may read adapters that are made for it.
    """
    with tempfile.TemporaryDirectory(prefix="bellhousing-adapters-") as folder:
        adapters = write_adapters(Path(folder), _weights(models[0]))
        first = mortal({"adapter_roots": [folder], "admission": {"max_queued": MOST_QUEUED}, **models[0]})
        port = free_port()
        variables = {METRICS_PORT: str(port)}
        async with AsyncExitStack() as stack:
            try:
                process = ServerProcess([first, *models[1:]], python=python, variables=variables)
                server = await stack.enter_async_context(process)
            except OSError as error:
                raise ConfigurationError(
                    f"interpreter {str(python)!r}: expected a program that runs, found {error.strerror}"
                ) from error
            await server.wait_serving(load_seconds)
            metrics = await _metrics(port)
            name, hooks = str(first.get("name", "")), hooks_of(server, first, metrics)
            yield server, Target(Address(server.address), name, hooks, adapters=adapters)


async def _metrics(port: int) -> Hook | None:
    """Return the hook `metrics` of a port; None where nobody answers: the plugin is not in the server's environment."""
    hook = metrics_hook(f"http://127.0.0.1:{port}/metrics")
    try:
        await hook()
    except HookFailed:
        return None
    return hook


def hooks_of(server: ServerProcess, model: Mapping[str, Any], metrics: Hook | None = None) -> Hooks:
    """Return the hooks of a server. `start` returns before it serves, `stop` when it has ended."""
    sessions: set[int] = {server.pid} if server.pid else set()

    async def start() -> str:
        await server.start()
        if server.pid:
            sessions.add(server.pid)
        return ""

    async def stop() -> str:
        await server.stop()
        return ""

    async def rss() -> str:
        return str(_resident_bytes(server.pid))

    async def stats() -> str:
        return json.dumps(_stats(sessions))

    known: dict[HookName, Hook] = {"start": start, "stop": stop, "rss": rss, "stats": stats}
    if metrics:
        known["metrics"] = metrics
    fault = fault_hook(server, model)
    return Hooks({**known, "fault": fault} if fault else known)


def _weights(model: Mapping[str, Any]) -> Path | None:
    """Return where the weights of a model lie, None when it has none. A repository is not fetched for it."""
    source = str(model.get("model", ""))
    if not source:
        return None
    with suppress(ConfigurationError):  # the server will say what is wrong with it
        return Path(source) if source.startswith("hf://") else resolve(source, lambda _: None)
    return Path(source)


def _resident_bytes(pid: int | None) -> int:
    """Return the resident memory of a process and all below it."""
    import psutil

    if pid is None:
        raise HookFailed("hook rss: the server does not run")
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            total += process.memory_info().rss
    return total


def _stats(sessions: set[int]) -> dict[str, int]:
    """Count the processes of some sessions, whoever their parent is by now, their open files and their threads."""
    import psutil

    processes = files = threads = 0
    for process in _of_sessions(sessions):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                files += process.num_fds()
                threads += process.num_threads()
                processes += 1
    return {"processes": processes, "files": files, "threads": threads}


def _of_sessions(sessions: set[int]) -> Iterator[Any]:
    import psutil

    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getsid(process.pid) in sessions:
                yield process
