"""The hook `fault` of a server that the suite starts: how its engine comes to a sudden end."""

from collections.abc import Mapping
from typing import Any

from bellhousing.client import AsyncClient, RetryPolicy
from bellhousing.errors import BellhousingError, EngineUnavailable
from bellhousing.launch import ServerProcess
from bellhousing.registry import load
from bellhousing_conformance.targets.hooks import Hook, HookFailed

SIMULATOR = "simulator"
LAST_WORDS = "Whoever reads this dies."
"""A prompt that ends a simulated engine."""

TRACKER = "multiprocessing.resource_tracker"
"""A process of Python's own beside an engine's: without it the engine goes on."""


def mortal(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model so that its engine can be ended: a simulator needs to be told how."""
    if model["backend"] != SIMULATOR:
        return dict(model)
    options = model.get("options", {})
    fault = {"kind": "die", "after_tokens": 1, "match": LAST_WORDS}
    return {**model, "options": {**options, "faults": [*options.get("faults", ()), fault]}}


def fault_hook(server: ServerProcess, model: Mapping[str, Any]) -> Hook | None:
    """Return the hook of a server that serves; None for an engine that cannot be ended without it."""
    if model["backend"] == SIMULATOR:
        return _simulated_death(server)
    if load(model["backend"]).isolation == "process":
        return _rank_death(server)
    return _command_death(server) if _started_by(server) else None


def _simulated_death(server: ServerProcess) -> Hook:
    async def fault() -> str:
        async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:
            try:
                await client.complete(LAST_WORDS, max_tokens=2, ignore_eos=True)
            except EngineUnavailable:
                return ""
            except BellhousingError as error:
                raise HookFailed(f"hook fault: {error.message}") from error
        raise HookFailed("hook fault: the simulated engine lives on")

    return fault


def _command_death(server: ServerProcess) -> Hook:
    """Kill what the server has started: an engine that is a command of its own, such as `ollama serve`."""

    async def fault() -> str:
        commands = _started_by(server)
        if not commands:
            raise HookFailed("hook fault: expected a command that the server started, found none")
        for command in commands:
            command.kill()
        return ""

    return fault


def _started_by(server: ServerProcess, *, recursive: bool = False) -> list[Any]:
    """Return the processes that a server started; if `recursive` those that they did in turn too."""
    import psutil

    children = psutil.Process(server.pid).children(recursive=recursive) if server.pid else []
    return [child for child in children if TRACKER not in " ".join(child.cmdline())]


def _rank_death(server: ServerProcess) -> Hook:
    """Kill the largest of the processes that have started no other: a rank, or the engine itself."""

    async def fault() -> str:
        leaves = [process for process in _started_by(server, recursive=True) if not process.children()]
        if not leaves:
            raise HookFailed("hook fault: expected a process of the engine, found none")
        max(leaves, key=lambda leaf: leaf.memory_info().rss).kill()
        return ""

    return fault
