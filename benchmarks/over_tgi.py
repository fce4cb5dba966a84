"""What the whole path costs over a TGI router's own API: one recorded generation, played at zero latency to both."""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing

import httpx

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from bellhousing_tgi.prompts import SAMPLE
from benchmarks.figures import Figure, figure
from benchmarks.processes import port_of, running, started
from benchmarks.replayed import TOKENS, body

LEVELS, STREAMS, PAIRS, FIRST_PAIRS = (1, 8), 8, 15, 51
"""Streams at once, streams a run, and runs."""

Arm = Callable[[], AsyncIterator[int]]
"""Opens one stream and yields how many tokens came, each time some do."""


async def measure() -> list[Figure]:
    """Return the ratio of tokens/s at each number of streams, and the TTFT that is added."""
    async with AsyncExitStack() as stack:
        router, _ = stack.enter_context(started([sys.executable, "-m", "benchmarks.replayed"]))
        url = f"http://127.0.0.1:{port_of(router)}"
        model = {"backend": "tgi-attached", "options": {"url": url}}
        server = stack.enter_context(running("model", json.dumps(model)))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))
        client = await stack.enter_async_context(AsyncClient(server.address, retry=RetryPolicy(attempts=1)))
        arms: dict[str, Arm] = {"plain": lambda: _plain(http), "ours": lambda: _ours(client)}
        return [*[await _figure(arms, streams) for streams in LEVELS], await _first(arms)]


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
        return sum([count for _ in range(STREAMS // streams) async for count in arm()])

    began = time.perf_counter()
    found = sum(await asyncio.gather(*(reader() for _ in range(streams))))
    elapsed = time.perf_counter() - began
    if found != STREAMS * TOKENS:
        raise RuntimeError(f"expected {STREAMS * TOKENS} tokens, found {found}")
    return found / elapsed


async def _first(arms: Mapping[str, Arm]) -> Figure:
    added = []
    for _ in range(FIRST_PAIRS + 1):
        found = {name: await _ttft(arms[name]) for name in random.sample(list(arms), len(arms))}
        added.append((found["ours"] - found["plain"]) * 1000)
    return figure("TTFT added, of which the router's /tokenize is a part", added[1:], unit=" ms")


async def _ttft(arm: Arm) -> float:
    began = time.perf_counter()
    async with aclosing(arm()) as counts:  # type: ignore[type-var]
        await anext(counts)
        return time.perf_counter() - began


async def _plain(http: httpx.AsyncClient) -> AsyncIterator[int]:
    """Read as any client of the API must: lines, and their JSON."""
    async with http.stream("POST", "/generate_stream", json=body()) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                yield int(bool(json.loads(line[5:])["token"]))


async def _ours(client: AsyncClient) -> AsyncIterator[int]:
    async with client.generate(SAMPLE, max_tokens=TOKENS, temperature=0) as stream:
        async for delta in stream:
            yield delta.token_count
