"""When Ollama works in production: load by slots beside llama.cpp, starvation, cold loads, and memory of a slot."""

import asyncio
import hashlib
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from bellhousing.sources import resolve
from benchmarks.figures import Figure, figure
from benchmarks.ollama_settings import CONTEXT, LONG_SECONDS, PROMPT, SOURCE, Ollama, ollama, through
from benchmarks.processes import running
from tests.gguf_file import with_number

SLOTS, USERS = (1, 2, 4), (1, 2, 4, 8, 16)
TOKENS, REPEATS, LEAST_REQUESTS, COLD_LOADS = 24, 3, 8, 5
BUSY_SECONDS = 6.0
SECOND = "second"

Generate = Callable[[int], Awaitable[list[float]]]
"""Answers a numbered prompt and returns the time of each token since the call, in seconds."""


async def measure() -> list[Figure]:
    """Return tokens/s and TTFT of both engines by slots and users, then what is Ollama's own."""
    figures: list[Figure] = []
    for slots in SLOTS:
        async with ollama(slots) as engine, _llamacpp(slots) as client:
            arms = {"Ollama": partial(through, engine.ours), "llama.cpp": partial(through, client)}
            figures += await _levels(slots, {name: partial(arm, tokens=TOKENS) for name, arm in arms.items()})
            figures.append(figure(f"runner's memory, {slots} slots", [engine.runner_bytes() / 2**20], unit=" MiB"))
            if slots == max(SLOTS):
                figures += [await _cold_loads(engine), *await _starvation(engine)]
    return figures


async def _levels(slots: int, arms: Mapping[str, Generate]) -> list[Figure]:
    """Return the figures of closed loops of each number of users, the engines in random order."""
    figures, numbers = [], itertools.count()
    for generate in arms.values():
        await generate(next(numbers))
    for users in USERS:
        rates: dict[str, list[float]] = {name: [] for name in arms}
        firsts: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(REPEATS):
            for name in random.sample(list(arms), len(arms)):
                rate, found = await _loop(arms[name], users, numbers)
                rates[name].append(rate)
                firsts[name] += found
        for name in arms:
            at = f"{name}, {slots} slots, {users} users"
            figures.append(figure(f"tokens/s, {at}", rates[name]))
            figures.append(figure(f"TTFT, {at}", firsts[name], unit=" ms"))
        print(f"{slots} slots, {users} users: done", file=sys.stderr)
    return figures


async def _loop(generate: Generate, users: int, numbers: Iterator[int]) -> tuple[float, list[float]]:
    """Return tokens/s of so many users, each with some requests one after the other, and each TTFT in milliseconds."""

    async def user() -> list[list[float]]:
        return [await generate(next(numbers)) for _ in range(max(2, LEAST_REQUESTS // users))]

    began = time.perf_counter()
    answers = [stamps for found in await asyncio.gather(*(user() for _ in range(users))) for stamps in found]
    return sum(map(len, answers)) / (time.perf_counter() - began), [stamps[0] * 1000 for stamps in answers]


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
    """Return how long a request for a second model waits while the first is busy, and alone: one alone is loaded."""
    await _make_second(engine)
    await through(engine.ours, 0, 1)  # the first model is loaded again
    alone = await _second(engine)
    await through(engine.ours, 0, 1)
    until = time.perf_counter() + BUSY_SECONDS

    async def busy(number: int) -> None:
        while time.perf_counter() < until:
            await through(engine.ours, number, TOKENS)

    traffic = [asyncio.ensure_future(busy(number)) for number in range(max(SLOTS))]
    await asyncio.sleep(0.5)
    waited = await _second(engine)
    await asyncio.gather(*traffic)
    return [
        figure("first answer of a second model, alone", [alone], unit=" s"),
        figure(f"the same beside {BUSY_SECONDS:g} s of traffic for the first", [waited], unit=" s"),
    ]


async def _make_second(engine: Ollama) -> None:
    """Give Ollama the same weights in a file with one entry more, which is another model to it."""
    file = with_number(resolve(SOURCE, lambda _: None).read_bytes(), "benchmark.second", 1)
    digest = f"sha256:{hashlib.sha256(file).hexdigest()}"
    (await engine.own.post(f"/api/blobs/{digest}", content=file)).raise_for_status()
    body = {"model": SECOND, "files": {"second.gguf": digest}, "stream": False}
    (await engine.own.post("/api/create", json=body)).raise_for_status()


async def _second(engine: Ollama) -> float:
    """Return the seconds to the answer of the second model, of one token."""
    began = time.perf_counter()
    options = {"num_predict": 1, "num_ctx": CONTEXT}
    body = {"model": SECOND, "prompt": PROMPT, "raw": True, "stream": False, "options": options}
    answer = await engine.own.post("/api/generate", json=body, timeout=LONG_SECONDS)
    answer.raise_for_status()
    return time.perf_counter() - began
