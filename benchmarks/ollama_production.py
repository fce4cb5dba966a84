"""When Ollama works in production: load by slots beside llama.cpp, starvation, cold loads, and memory of a slot."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from benchmarks.figures import Figure, figure
from benchmarks.ollama_settings import CONTEXT, LONG_SECONDS, PROMPT, SOURCE, Ollama, ollama, through
from benchmarks.processes import running

SLOTS, USERS = (1, 2, 4), (1, 2, 4, 8, 16)
TOKENS, REQUESTS, COLD_LOADS = 24, 2, 5
BUSY_SECONDS = 6.0

Generate = Callable[[int], Awaitable[list[float]]]
"""Answers a numbered prompt and returns the time of each token since the call, in seconds."""


async def measure() -> list[Figure]:
    """Return tokens/s and TTFT of both engines by slots and users, then what is Ollama's own."""
    figures: list[Figure] = []
    for slots in SLOTS:
        async with ollama(slots) as engine:
            found = await _levels(f"Ollama, {slots} slots", lambda number, e=engine: through(e.ours, number, TOKENS))  # type: ignore[misc]
            figures += [*found, figure(f"runner's memory, {slots} slots", [engine.runner_bytes() / 2**20], unit=" MiB")]
            if slots == max(SLOTS):
                figures += [await _cold_loads(engine), *await _starvation(engine)]
        async with _llamacpp(slots) as client:
            figures += await _levels(f"llama.cpp, {slots} slots", lambda number, c=client: through(c, number, TOKENS))  # type: ignore[misc]
    return figures


async def _levels(engine: str, generate: Generate) -> list[Figure]:
    """Return the figures of a closed loop of each number of users."""
    figures, numbers = [], itertools.count()
    await generate(next(numbers))
    for users in USERS:
        began = time.perf_counter()

        async def user() -> list[list[float]]:
            return [await generate(next(numbers)) for _ in range(REQUESTS)]

        answers = [stamps for found in await asyncio.gather(*(user() for _ in range(users))) for stamps in found]
        rate = sum(map(len, answers)) / (time.perf_counter() - began)
        figures.append(figure(f"tokens/s, {engine}, {users} users", [rate]))
        figures.append(figure(f"TTFT, {engine}, {users} users", [s[0] * 1000 for s in answers], unit=" ms"))
        print(f"{engine}, {users} users: {rate:.1f} tokens/s", file=sys.stderr)
    return figures


@asynccontextmanager
async def _llamacpp(slots: int) -> AsyncIterator[AsyncClient]:
    options = {"context_per_sequence": CONTEXT}
    model = {"backend": "llamacpp", "model": SOURCE, "options": options, "batching": {"max_sequences": slots}}
    with running("model", json.dumps(model)) as server:
        async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:
            yield client


async def _cold_loads(engine: Ollama) -> Figure:
    """Return the seconds from a request for a model that is not loaded to its first token."""
    found = []
    for number in range(COLD_LOADS):
        await engine.own.post("/api/generate", json={"model": engine.model, "keep_alive": 0})
        while (await engine.own.get("/api/ps")).json()["models"]:
            await asyncio.sleep(0.05)
        found.append((await through(engine.ours, number, 1))[0] * 1000)
    return figure("TTFT of a request that has to load the model", found, unit=" ms")


async def _starvation(engine: Ollama) -> list[Figure]:
    """Return how long a request for another runner waits while the first is busy, and alone.

    The same file with another context needs a runner of its own, as another model would, and only one may be loaded.
    """
    alone = await _other_runner(engine)
    until = time.perf_counter() + BUSY_SECONDS

    async def busy(number: int) -> None:
        while time.perf_counter() < until:
            await through(engine.ours, number, TOKENS)

    traffic = [asyncio.ensure_future(busy(number)) for number in range(max(SLOTS))]
    await asyncio.sleep(0.5)
    waited = await _other_runner(engine)
    await asyncio.gather(*traffic)
    return [
        figure("first answer of a second model, alone", [alone], unit=" s"),
        figure(f"the same beside {BUSY_SECONDS:g} s of traffic for the first", [waited], unit=" s"),
    ]


async def _other_runner(engine: Ollama) -> float:
    began = time.perf_counter()
    options = {"num_predict": 1, "num_ctx": CONTEXT // 2}
    body = {"model": engine.model, "prompt": PROMPT, "raw": True, "stream": False, "options": options}
    answer = await engine.own.post("/api/generate", json=body, timeout=LONG_SECONDS)
    answer.raise_for_status()
    return time.perf_counter() - began
