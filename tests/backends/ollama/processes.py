"""Ollama's processes as the system sees them."""

import asyncio

import psutil


def runner_pids(serve: int) -> list[int]:
    """Return the ids of the runners of a server, sorted."""
    return sorted(child.pid for child in psutil.Process(serve).children(recursive=True) if is_alive(child.pid))


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def are_gone(pids: list[int], seconds: float = 10.0) -> bool:
    """Wait until none of the processes runs, and tell whether that came about."""
    for _ in range(int(seconds / 0.05)):
        if not any(map(is_alive, pids)):
            return True
        await asyncio.sleep(0.05)
    return False
