"""What the whole path costs over a TGI router's own API: one recorded generation, played at zero latency to both."""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import httpx

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from bellhousing_tgi.prompts import SAMPLE
from benchmarks.figures import Figure, figure
from benchmarks.processes import port_of, running, started
from benchmarks.replayed import TOKENS, body

LEVELS, STREAMS, PAIRS = (1, 8), 16, 15
"""Streams at once, streams a run, and runs."""

Arm = Callable[[], Awaitable[int]]
"""Reads one stream to its end and returns how many tokens came."""


async def measure() -> list[Figure]:
    """Return the ratio of tokens/s at each number of streams."""
    async with AsyncExitStack() as stack:
        router, _ = stack.enter_context(started([sys.executable, "-m", "benchmarks.replayed"]))
        url = f"http://127.0.0.1:{port_of(router)}"
        model = {"backend": "tgi-attached", "options": {"url": url}}
        server = stack.enter_context(running("model", json.dumps(model)))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))
        client = await stack.enter_async_context(AsyncClient(server.address, retry=RetryPolicy(attempts=1)))
        arms: dict[str, Arm] = {"plain": lambda: _plain(http), "ours": lambda: _ours(client)}
        return [await _figure(arms, streams) for streams in LEVELS]


async def _figure(arms: Mapping[str, Arm], streams: int) -> Figure:
    ratios = []
    for _ in range(PAIRS + 1):
        rates = {name: await _rate(arms[name], streams) for name in random.sample(list(arms), len(arms))}
        ratios.append(rates["ours"] / rates["plain"])
    at = f"{streams} stream{'s' if streams > 1 else ''}"
    name = f"frames/s, merging allowed, over a plain httpx reader of the router, {at}"
    return figure(name, ratios[1:], at_least=0.8)


async def _rate(arm: Arm, streams: int) -> float:
    """Return tokens/s of so many streams at once, each read one after the other. Raises when a token is missing."""

    async def reader() -> int:
        return sum([await arm() for _ in range(STREAMS // streams)])

    began = time.perf_counter()
    found = sum(await asyncio.gather(*(reader() for _ in range(streams))))
    elapsed = time.perf_counter() - began
    if found != STREAMS * TOKENS:
        raise RuntimeError(f"expected {STREAMS * TOKENS} tokens, found {found}")
    return found / elapsed


async def _plain(http: httpx.AsyncClient) -> int:
    """Read as any client of the API must: lines, and their JSON."""
    tokens = 0
    async with http.stream("POST", "/generate_stream", json=body()) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                tokens += bool(json.loads(line[5:])["token"])
    return tokens


async def _ours(client: AsyncClient) -> int:
    tokens = 0
    async for delta in client.generate(SAMPLE, max_tokens=TOKENS, temperature=0):
        tokens += delta.token_count
    return tokens
