"""Both clients behind one form, so that each test holds for both."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bellhousing import AsyncClient, Client, RetryPolicy

Caller = Callable[..., Awaitable[str]]
QUICK = RetryPolicy(attempts=3, first=0.01)
FOUR: dict[str, Any] = {"max_tokens": 4, "ignore_eos": True}


async def stream_async(address: str, retry: RetryPolicy = QUICK, timeout: float | None = None, **given: Any) -> str:
    """Return the text of a streamed generation."""
    async with AsyncClient(address, retry=retry, **given) as client:
        return "".join([delta.text async for delta in client.generate("a", timeout=timeout, **FOUR)])


async def stream_sync(address: str, retry: RetryPolicy = QUICK, timeout: float | None = None, **given: Any) -> str:
    """Return the text of a streamed generation, read in a thread."""

    def read() -> str:
        with Client(address, retry=retry, **given) as client:
            return "".join(delta.text for delta in client.generate("a", timeout=timeout, **FOUR))

    return await asyncio.to_thread(read)


async def complete_async(address: str, retry: RetryPolicy = QUICK, timeout: float | None = None, **given: Any) -> str:
    """Return the text of a whole generation."""
    async with AsyncClient(address, retry=retry, **given) as client:
        return (await client.complete("a", timeout=timeout, **FOUR)).outputs[0].text


async def complete_sync(address: str, retry: RetryPolicy = QUICK, timeout: float | None = None, **given: Any) -> str:
    """Return the text of a whole generation, waited for in a thread."""

    def ask() -> str:
        with Client(address, retry=retry, **given) as client:
            return client.complete("a", timeout=timeout, **FOUR).outputs[0].text

    return await asyncio.to_thread(ask)


STREAMING: tuple[Caller, ...] = (stream_async, stream_sync)
ALL: tuple[Caller, ...] = (*STREAMING, complete_async, complete_sync)
