"""What the whole path costs over vLLM's `AsyncLLM` called directly, and what vLLM's own HTTP server costs."""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from bellhousing.process.ports import free_port
from benchmarks.figures import Figure, figure
from benchmarks.processes import Running, running, started
from benchmarks.vllm_settings import ENVIRONMENT, FLAGS, LORA_OPTIONS, MODEL, ONE_PROCESS, OURS, OWN_SERVER, PYTHON

PROMPT = "is the number of this text about the history of the Roman empire, which began"
TOKENS, ROUNDS, ADAPTERS = 32, 9, 21
LEVELS = {1: 101, 4: 61, 16: 31}
"""Numbers of streams, and their rounds for TTFT, which are short: it varies far more than rates do."""
FIRST_TOKENS = 12
"""Of those rounds: the engine is at the tokens of other streams while a request comes."""
SPREAD_SECONDS = 0.03
"""The streams of those rounds start this far apart on average, which is a step of the engine or two."""
READY_SECONDS = 300

Starts = Sequence[float]
"""Of each stream the time at which it starts, in seconds since its round began."""

Stamps = list[list[float]]
"""Of each stream the times at which tokens came, since the call, in seconds. Streams may leave out all but the ends."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to the engine: how to run streams that start at some times, of so many tokens, and what it has used."""

    run: Callable[[Starts, int], Awaitable[Stamps]]
    server: Running


@dataclass(frozen=True, slots=True)
class Run:
    """One arm at one level: tokens/s, the TTFT of each stream in ms, and the server's processor time of a token."""

    rate: float
    firsts: list[float]
    cpu: float


async def measure() -> list[Figure]:
    """Return the figures at each number of streams."""
    _check_installed()
    async with AsyncExitStack() as stack:
        arms = {
            "direct": (await stack.enter_async_context(_direct()))[0],
            "http": await stack.enter_async_context(_own_server()),
            "http one process": await stack.enter_async_context(_own_server(ONE_PROCESS)),
            "ours": (await stack.enter_async_context(_ours(OURS)))[0],
        }
        figures: list[Figure] = []
        for streams, first_rounds in LEVELS.items():
            at_once = [0.0] * streams
            rounds = [await _round(arms, at_once, TOKENS) for _ in range(ROUNDS + 1)][1:]
            figures += _figures(streams, rounds)
            firsts = [await _round(arms, _apart(streams), FIRST_TOKENS) for _ in range(first_rounds + 1)][1:]
            figures += _first_figures(_at(streams), firsts, at_most=2)
            if streams > 1:
                figures += _first_figures(f"{_at(streams)} at once", rounds)
            print(f"{streams} streams: done", file=sys.stderr)
    return figures


def _figures(streams: int, rounds: list[dict[str, Run]]) -> list[Figure]:
    at = _at(streams)
    return [
        figure(f"tokens/s over AsyncLLM, {at}", [r["ours"].rate / r["direct"].rate for r in rounds], at_least=0.97),
        figure(f"tokens/s over vLLM's server, {at}", [r["ours"].rate / r["http"].rate for r in rounds], at_least=1),
        figure(
            f"processor time of a token over vLLM's server, {at}",
            [r["ours"].cpu / r["http"].cpu for r in rounds],
            at_most=1,
        ),
        figure(
            f"the same over that server with our executor, {at}",
            [r["ours"].cpu / r["http one process"].cpu for r in rounds],
        ),
    ]


def _apart(streams: int) -> list[float]:
    """Return random starts: streams that start in one turn of one loop share a step, as those of a network do not."""
    return sorted(random.uniform(0, streams * SPREAD_SECONDS) for _ in range(streams))


def _first_figures(at: str, rounds: list[dict[str, Run]], *, at_most: float | None = None) -> list[Figure]:
    return [
        figure(f"TTFT added over AsyncLLM, {at}", _added(rounds, "ours"), at_most=at_most, unit=" ms"),
        figure(f"the same by vLLM's own server, {at}", _added(rounds, "http"), unit=" ms"),
        figure(f"the same by that server with our executor, {at}", _added(rounds, "http one process"), unit=" ms"),
    ]


def _at(streams: int) -> str:
    return f"{streams} stream{'s' if streams > 1 else ''}"


def _added(rounds: list[dict[str, Run]], arm: str) -> list[float]:
    """Return the median of each round: the differences of a stream's TTFT by the arm and directly."""
    return [
        statistics.median(a - b for a, b in zip(found[arm].firsts, found["direct"].firsts, strict=True))
        for found in rounds
    ]


async def _round(arms: dict[str, Arm], starts: Starts, tokens: int) -> dict[str, Run]:
    """Run every arm once with the same starts, in random order."""
    return {name: await _run(arms[name], starts, tokens) for name in random.sample(list(arms), len(arms))}


async def _run(arm: Arm, starts: Starts, tokens: int) -> Run:
    used = arm.server.cpu_seconds()
    stamps = await arm.run(starts, tokens)
    cpu = arm.server.cpu_seconds() - used
    total = len(starts) * tokens
    return Run(
        rate=total / max(start + times[-1] for start, times in zip(starts, stamps, strict=True)),
        firsts=[times[0] * 1000 for times in stamps],
        cpu=cpu / total,
    )


class Direct:
    """The process of `benchmarks.vllm_direct`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def answer(self, task: dict[str, Any]) -> Any:
        """Return what it answers to a task."""
        if self._process.stdin is None:
            raise RuntimeError("the direct engine has no input")
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return json.loads(await self.line())

    async def line(self) -> str:
        """Return the next line that is an answer: vLLM writes some of its own."""
        while True:
            line = await asyncio.to_thread(self._process.stdout.readline) if self._process.stdout else ""
            if not line:
                raise RuntimeError("the direct engine ended without an answer")
            if line[0] in "[0123456789" or line == "ready\n":
                return line


@asynccontextmanager
async def _direct(*flags: str) -> AsyncIterator[tuple[Arm, Direct]]:
    command = [str(PYTHON), "-m", "benchmarks.vllm_direct", str(MODEL), *flags]
    with started(command, stdin=subprocess.PIPE, environment=ENVIRONMENT) as (child, server):
        direct = Direct(child)
        await direct.line()

        async def run(starts: Starts, tokens: int) -> Stamps:
            task = {"starts": starts, "prompt": PROMPT, "tokens": tokens}
            return list(await direct.answer(task))

        yield Arm(run, server), direct


@asynccontextmanager
async def _own_server(environment: Mapping[str, str] = OWN_SERVER) -> AsyncIterator[Arm]:
    port = free_port()
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "smollm2", *FLAGS]
    with started(command, environment=environment, is_silent=True) as (_, server):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=READY_SECONDS) as client:
            await _ready(client)

            async def run(starts: Starts, tokens: int) -> Stamps:
                streams = (_sse(client, number, start, tokens) for number, start in enumerate(starts))
                return list(await asyncio.gather(*streams))

            yield Arm(run, server)


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                if (await client.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.5)


async def _sse(client: httpx.AsyncClient, number: int, start: float, tokens: int) -> list[float]:
    """Start after so many seconds; return the time of each event with text since then."""
    await asyncio.sleep(start)
    began, stamps = time.perf_counter(), list[float]()
    body = {
        "model": "smollm2", "prompt": f"{number} {PROMPT}", "max_tokens": tokens, "temperature": 0, "ignore_eos": True,
        "stream": True,
    }  # fmt: skip
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"]:
                stamps.append(time.perf_counter() - began)
    return stamps


@asynccontextmanager
async def _ours(model: dict[str, Any]) -> AsyncIterator[tuple[Arm, AsyncClient]]:
    with running("model", json.dumps(model), python=str(PYTHON), environment=ENVIRONMENT) as server:
        async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:

            async def run(starts: Starts, tokens: int) -> Stamps:
                streams = (_grpc(client, number, start, tokens) for number, start in enumerate(starts))
                return list(await asyncio.gather(*streams))

            yield Arm(run, server), client


async def _grpc(client: AsyncClient, number: int, start: float, tokens: int) -> list[float]:
    """Start after so many seconds; return the time of each token since then."""
    await asyncio.sleep(start)
    began, stamps = time.perf_counter(), list[float]()
    text = f"{number} {PROMPT}"
    async for delta in client.generate(text, max_tokens=tokens, temperature=0, ignore_eos=True, coalescing=False):
        stamps += [time.perf_counter() - began] * delta.token_count
    return stamps


async def measure_adapters() -> list[Figure]:
    """Return the ratio of our time to load a new adapter to vLLM's, each by both in random order."""
    _check_installed()
    async with AsyncExitStack() as stack:
        roots = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [str(PYTHON), "-m", "benchmarks.vllm_adapters", str(MODEL), str(roots), str(ADAPTERS + 1)]
        await asyncio.to_thread(lambda: subprocess.run(command, check=True, capture_output=True))
        _, direct = await stack.enter_async_context(_direct("adapters"))
        model = OURS | {"adapter_roots": [str(roots)], "adapter_slots": 64, "options": OURS["options"] | LORA_OPTIONS}
        _, client = await stack.enter_async_context(_ours(model))
        ratios = [await _load_adapter(number, direct, client, roots) for number in range(1, ADAPTERS + 2)]
    return [figure("time to load an adapter over add_lora", ratios[1:], at_most=1.2)]


def _check_installed() -> None:
    if not PYTHON.is_file():
        raise RuntimeError(f"expected vLLM in {PYTHON.parent.parent}; run `make engines`")


async def _load_adapter(number: int, direct: Direct, client: AsyncClient, roots: Path) -> float:
    path, seconds = roots / str(number), dict[str, float]()
    await client.register_adapter(str(number), path.as_uri())
    for name in random.sample(["ours", "direct"], 2):
        if name == "direct":
            seconds[name] = float(await direct.answer({"adapter": str(path), "number": number}))
        else:
            began = time.perf_counter()
            await client.load_adapter(str(number))
            seconds[name] = time.perf_counter() - began
    return seconds["ours"] / seconds["direct"]
