"""TTFT among other streams: workers that ask one request after another, each of another length."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

LENGTHS = (4, 20)
"""Tokens of an output, at least and at most: streams of one length would come and go together."""

Stream = Callable[[str, int], Awaitable[list[float]]]
"""Answers a prompt with so many tokens and returns the time of each since the call, in seconds."""


async def first_tokens(stream: Stream, workers: int, prompt: str, *, seconds: float, seed: int) -> list[float]:
    """Return each TTFT, in seconds, of requests that began while all workers were busy. Equal seeds ask the same."""
    began = time.perf_counter()

    async def work(number: int) -> list[float]:
        drawn = random.Random(f"{seed}/{number}")
        found: list[float] = []
        while time.perf_counter() - began < seconds:
            stamps = await stream(f"{drawn.randrange(1000)} {prompt}", drawn.randint(*LENGTHS))
            found.append(stamps[0])
        return found[1:]  # the first requests of all workers came at once

    return [ttft for found in await asyncio.gather(*map(work, range(workers))) for ttft in found]
