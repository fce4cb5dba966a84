"""What the whole path costs over vLLM's `AsyncLLM` called directly, and what vLLM's own HTTP server costs."""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from bellhousing.process.ports import free_port
from benchmarks.closed_loop import Stream, first_tokens
from benchmarks.figures import Figure, figure
from benchmarks.processes import Running, running, started
from benchmarks.vllm_settings import (
    ENVIRONMENT,
    FLAGS,
    LORA_ARGUMENTS,
    LORA_OPTIONS,
    MODEL,
    ONE_PROCESS,
    OURS,
    OWN_SERVER,
    PYTHON,
)
from benchmarks.vllm_stamped import NAME as STAMPED
from benchmarks.vllm_stamped import installed, seconds_in_engine
from benchmarks.vllm_traffic import write_adapters

PROMPT = "is the number of this text about the history of the Roman empire, which began"
TOKENS, ROUNDS, ADAPTERS, RANK = 32, 9, 61, 16
LEVELS = (1, 4, 16)
WAY_SECONDS = 30.0
"""How long a closed loop of requests is watched on its way to `AsyncLLM` and back."""
ALONE_ROUNDS = 101
"""Of the difference of TTFT between arms, of requests that come alone: among others it has the noise of whole steps."""
READY_SECONDS = 300

Stamps = list[list[float]]
"""Of each stream the times at which tokens came, since the call, in seconds. Streams may leave out all but the ends."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to the engine: how to run so many streams at once of so many tokens, and what its server has used."""

    run: Callable[[int, int], Awaitable[Stamps]]
    server: Running


@dataclass(frozen=True, slots=True)
class Ours:
    """Our server, which notes what `AsyncLLM` takes of each TTFT, and a client that keeps them by request (seconds)."""

    client: AsyncClient
    server: Running
    notes: Path
    ttfts: dict[str, float] = field(default_factory=dict)

    async def stream(self, prompt: str, tokens: int) -> list[float]:
        """Return the time of each token since the call."""
        began, stamps = time.perf_counter(), list[float]()
        stream = self.client.generate(prompt, max_tokens=tokens, temperature=0, ignore_eos=True, coalescing=False)
        async for delta in stream:
            stamps += [time.perf_counter() - began] * delta.token_count
        if stream.started:
            self.ttfts[stream.started.request_id] = stamps[0]
        return stamps

    async def added(self, streams: int) -> list[float]:
        """Return of each TTFT, with so many streams at once, what is not `AsyncLLM`'s, in milliseconds."""
        self.ttfts.clear()
        await first_tokens(self.stream, streams, PROMPT, seconds=WAY_SECONDS, seed=0)
        engine = seconds_in_engine(self.notes)
        return [(ttft - engine[request_id]) * 1000 for request_id, ttft in self.ttfts.items()]


@dataclass(frozen=True, slots=True)
class Run:
    """One arm at one level: tokens/s, and the server's processor time of a token."""

    rate: float
    cpu: float


async def measure() -> list[Figure]:
    """Return the figures at each number of streams."""
    check_installed()
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_ours(OURS | {"backend": STAMPED}))
        arms = {
            "direct": (await stack.enter_async_context(direct_engine()))[0],
            "http": await stack.enter_async_context(_own_server()),
            "http one process": await stack.enter_async_context(_own_server(ONE_PROCESS)),
            "ours": _arm(ours.stream, ours.server),
        }
        figures: list[Figure] = []
        for streams in LEVELS:
            rounds = [await _round(arms, streams) for _ in range(ROUNDS + 1)][1:]
            figures += _figures(streams, rounds)
            name = f"TTFT added on the way to AsyncLLM and back, {_at(streams)}"
            figures.append(figure(name, await ours.added(streams), at_most=2, unit=" ms"))
            print(f"{streams} streams: done", file=sys.stderr)
        figures += _first_figures(await _first_rounds(arms))
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


def _first_figures(rounds: list[dict[str, float]]) -> list[Figure]:
    def added(arm: str) -> list[float]:
        return [(found[arm] - found["direct"]) * 1000 for found in rounds]

    return [
        figure("TTFT less that of AsyncLLM in the same round, requests alone", added("ours"), unit=" ms"),
        figure("the same by vLLM's own server", added("http"), unit=" ms"),
        figure("the same by that server with our executor", added("http one process"), unit=" ms"),
    ]


def _at(streams: int) -> str:
    return f"{streams} stream{'s' if streams > 1 else ''}"


async def _first_rounds(arms: dict[str, Arm]) -> list[dict[str, float]]:
    """Return the TTFT of every arm, in seconds, for each round of a request alone; the arms in random order."""

    async def ttfts() -> dict[str, float]:
        return {name: (await arms[name].run(1, 1))[0][0] for name in random.sample(list(arms), len(arms))}

    return [await ttfts() for _ in range(ALONE_ROUNDS + 1)][1:]


async def _round(arms: dict[str, Arm], streams: int) -> dict[str, Run]:
    """Run every arm once, in random order."""
    return {name: await _run(arms[name], streams) for name in random.sample(list(arms), len(arms))}


async def _run(arm: Arm, streams: int) -> Run:
    used = arm.server.cpu_seconds()
    stamps = await arm.run(streams, TOKENS)
    cpu = arm.server.cpu_seconds() - used
    total = streams * TOKENS
    return Run(rate=total / max(times[-1] for times in stamps), cpu=cpu / total)


def _arm(stream: Stream, server: Running) -> Arm:
    """Return the arm of a client that runs here."""

    async def run(streams: int, tokens: int) -> Stamps:
        return list(await asyncio.gather(*(stream(f"{number} {PROMPT}", tokens) for number in range(streams))))

    return Arm(run, server)


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
async def direct_engine(*flags: str) -> AsyncIterator[tuple[Arm, Direct]]:
    """Run `benchmarks.vllm_direct` for the body; a flag is JSON of further arguments of the engine."""
    command = [str(PYTHON), "-m", "benchmarks.vllm_direct", str(MODEL), *flags]
    with started(command, stdin=subprocess.PIPE, environment=ENVIRONMENT) as (child, server):
        direct = Direct(child)
        await direct.line()

        async def run(streams: int, tokens: int) -> Stamps:
            return list(await direct.answer({"streams": streams, "prompt": PROMPT, "tokens": tokens}))

        yield Arm(run, server), direct


@asynccontextmanager
async def _own_server(environment: Mapping[str, str] = OWN_SERVER) -> AsyncIterator[Arm]:
    port = free_port()
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "smollm2", *FLAGS]
    with started(command, environment=environment, is_silent=True) as (_, server):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=READY_SECONDS) as client:
            await _ready(client)
            yield _arm(lambda prompt, tokens: _sse(client, prompt, tokens), server)


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                if (await client.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.5)


async def _sse(client: httpx.AsyncClient, prompt: str, tokens: int) -> list[float]:
    """Return the time of each event with text since the call."""
    began, stamps = time.perf_counter(), list[float]()
    body = {
        "model": "smollm2", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True,
        "stream": True,
    }  # fmt: skip
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"]:
                stamps.append(time.perf_counter() - began)
    return stamps


@asynccontextmanager
async def _ours(model: dict[str, Any]) -> AsyncIterator[Ours]:
    with tempfile.TemporaryDirectory() as directory:
        environment = ENVIRONMENT | installed(Path(directory))
        with running("model", json.dumps(model), python=str(PYTHON), environment=environment) as server:
            async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:
                yield Ours(client, server, Path(directory))


async def measure_adapters() -> list[Figure]:
    """Return the ratio of our time to load a new adapter to vLLM's, each by both in random order."""
    check_installed()
    async with AsyncExitStack() as stack:
        roots = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await write_adapters(roots, ADAPTERS + 1, RANK)
        _, direct = await stack.enter_async_context(direct_engine(json.dumps(LORA_ARGUMENTS)))
        model = OURS | {"adapter_roots": [str(roots)], "adapter_slots": 64, "options": OURS["options"] | LORA_OPTIONS}
        ours = await stack.enter_async_context(_ours(model))
        ratios = [await _load_adapter(number, direct, ours.client, roots) for number in range(1, ADAPTERS + 2)]
    return [figure("time to load an adapter over add_lora", ratios[1:], at_most=1.2)]


def check_installed() -> None:
    """Raise `RuntimeError` where vLLM is not installed."""
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
