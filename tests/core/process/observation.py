"""What tests look at from outside: processes, events and errors."""

import asyncio
import time
from multiprocessing import resource_tracker

import psutil

from bellhousing.backend import Backend
from bellhousing.errors import BellhousingError
from bellhousing.events import Event
from bellhousing.requests import GenerationRequest


def request(prompt: str) -> GenerationRequest:
    return GenerationRequest("r", prompt)


async def events(backend: Backend, prompt: str) -> list[Event]:
    return [event async for event in backend.generate(request(prompt))]


async def failure(backend: Backend, prompt: str) -> BellhousingError:
    """Return the error that ends a generation."""
    try:
        await events(backend, prompt)
    except BellhousingError as error:
        return error
    raise AssertionError(f"{prompt!r} ended without an error")


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children() -> list[int]:
    """Return the running processes below this one, without Python's own tracker.

    Whoever has once used multiprocessing, as another test may have, has that tracker until it ends.
    """
    below = psutil.Process().children(recursive=True)
    return [process.pid for process in below if is_running(process.pid) and process.pid != tracker_pid()]


def tracker_pid() -> int | None:
    return getattr(resource_tracker._resource_tracker, "_pid", None)


def wait_until_gone(*pids: int, seconds: float = 20.0) -> bool:
    """Tell whether the processes end within that time."""
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_running, pids))


async def settle() -> None:
    """Let the loop close what it closes later."""
    await asyncio.sleep(0.05)
