"""Two hundred adapters on eight places of a real vLLM, beside the same server with a place for each of them."""

import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.adapter_policies import best_hits, zipf
from benchmarks.figures import Figure, figure
from benchmarks.over_vllm import Direct, check_installed, direct_engine
from benchmarks.vllm_settings import SEQUENCES
from benchmarks.vllm_traffic import WORKERS, Lora, Passed, Served, served, write_adapters

ADAPTERS, SLOTS, RANK, SKEW = 200, 8, 8, 1.0
REQUESTS, ROUNDS = 160, 5
RUNNING = SEQUENCES
"""Requests that are open at once where none is to wait for another to end."""
COLD = 61
"""Adapters that no traffic asks for: each is loaded once, into a server without other requests."""
STREAMS, TOKENS, GAP_ROUNDS = 4, 48, 11
LOAD_EVERY = 0.5
"""Seconds between the requests that need a load, while the inter-token latency of others is measured."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An adapter's first token, cold and then resident, and `add_lora` of it called directly, in seconds."""

    cold: float
    resident: float
    direct: float

    @property
    def penalty(self) -> float:
        """What the adapter's absence cost the request, over what vLLM takes to load it."""
        return (self.cold - self.resident) / self.direct


@dataclass(frozen=True, slots=True)
class Round:
    """A part of the trace: the share of hits that is possible, and what became of it on each server."""

    best: float
    passed: Mapping[str, Passed]

    def hits(self, arm: str) -> float:
        """Return the share of requests that needed no load of their own."""
        return 1 - self.passed[arm].loads / REQUESTS


async def measure() -> list[Figure]:
    """Return the figures of traffic, of requests that need a load, and of those beside them."""
    check_installed()
    async with AsyncExitStack() as stack:
        roots = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await write_adapters(roots, ADAPTERS + COLD, RANK)
        few = await stack.enter_async_context(served(Lora(SLOTS, RANK), roots))
        async with served(Lora(ADAPTERS, RANK), roots) as all_resident:
            figures = await _traffic(few, all_resident)
        print("traffic: done", file=sys.stderr)
        flags = {"enable_lora": True, "max_loras": SLOTS + 1, "max_cpu_loras": 65, "max_lora_rank": RANK}
        _, direct = await stack.enter_async_context(direct_engine(json.dumps(flags)))
        figures += await _arrivals(few, direct, roots)
        print("arrivals: done", file=sys.stderr)
        return [*figures, *await _beside_loads(few)]


async def _traffic(few: Served, all_resident: Served) -> list[Figure]:
    for name in range(1, ADAPTERS + 1):
        await all_resident.client.load_adapter(str(name))
    trace = [number + 1 for number in zipf(0, SKEW)[: REQUESTS * (ROUNDS + 1)]]
    best = best_hits(trace, SLOTS)
    arms = {"few": (few, WORKERS), "without queue": (few, RUNNING), "all": (all_resident, WORKERS)}
    rounds = list[Round]()
    for number, begin in enumerate(range(0, len(trace), REQUESTS)):
        part = [str(name) for name in trace[begin : begin + REQUESTS]]
        passed = dict[str, Passed]()
        for arm in random.sample(list(arms), len(arms)):
            server, workers = arms[arm]
            passed[arm] = await server.take(part, number, workers)
        rounds.append(Round(sum(best[begin : begin + REQUESTS]) / REQUESTS, passed))
    return _traffic_figures(rounds[1:])


def _traffic_figures(rounds: Sequence[Round]) -> list[Figure]:
    failed = [sum(passed.failed for passed in found.passed.values()) for found in rounds]
    rates = [found.passed["few"].rate / found.passed["all"].rate for found in rounds]
    less = [(found.hits("few") - found.best) * 100 for found in rounds]
    return [
        figure("requests that need no load of their own, 48 open", [found.hits("few") for found in rounds]),
        figure("the best possible in the order of the trace", [found.best for found in rounds]),
        figure("the first less the second", less, at_least=-3, unit=" points"),
        figure("the first with 16 open, which leaves no queue", [found.hits("without queue") for found in rounds]),
        figure("requests that failed", failed, at_most=0),
        figure("loads where all 200 are resident", [found.passed["all"].loads for found in rounds], at_most=0),
        figure("tokens/s over all 200 resident, 48 open", rates, at_least=0.9),
    ]


async def _arrivals(ours: Served, direct: Direct, roots: Path) -> list[Figure]:
    """Return what a request waits for its adapter, from its files and from host memory, over `add_lora`."""
    cold, back = list[Arrival](), list[Arrival]()
    names = [str(number) for number in range(ADAPTERS + 1, ADAPTERS + COLD + 1)]
    for index, name in enumerate(names):
        cold.append(await _arrival(ours, direct, roots, name))
        on_device = (await ours.client.load()).resident_adapters
        left = next((latest for latest in reversed(names[:index]) if latest not in on_device), "")
        if left:
            back.append(Arrival(await ours.ttft(left), await ours.ttft(left), cold[-1].direct))
    return [
        figure("TTFT added where the adapter is cold, over add_lora", [a.penalty for a in cold[1:]], at_most=1.3),
        figure("the same where it is in host memory", [a.penalty for a in back]),
    ]


async def _arrival(ours: Served, direct: Direct, roots: Path, name: str) -> Arrival:
    seconds = dict[str, float]()
    for arm in random.sample(["ours", "direct"], 2):
        if arm == "direct":
            seconds[arm] = float(await direct.answer({"adapter": str(roots / name), "number": int(name)}))
        else:
            await ours.ttft("")  # what slept while the other arm ran is awake again
            seconds["cold"] = await ours.ttft(name)
            seconds["resident"] = await ours.ttft(name)
    return Arrival(seconds["cold"], seconds["resident"], seconds["direct"])


async def _beside_loads(ours: Served) -> list[Figure]:
    """Return the p90 of inter-token latency beside loads over that beside equal requests that need none."""
    steady = [str(name) for name in range(1, STREAMS + 1)]
    away = itertools.cycle(str(name) for name in range(STREAMS + 1, ADAPTERS + 1))
    here = itertools.cycle(steady)
    ratios = list[float]()
    for _ in range(GAP_ROUNDS + 1):
        found = dict[str, float]()
        for arm, others in random.sample([("loads", away), ("none", here)], 2):
            found[arm] = await _p90(ours, steady, others)
        ratios.append(found["loads"] / found["none"])
    name = f"p90 of inter-token latency beside {1 / LOAD_EVERY:g} loads a second, over none"
    return [figure(name, ratios[1:], at_most=1.2)]


async def _p90(ours: Served, steady: Sequence[str], others: "itertools.cycle[str]") -> float:
    async def ask() -> None:
        while True:
            await asyncio.sleep(LOAD_EVERY)
            await ours.ttft(next(others))

    asking = asyncio.create_task(ask())
    streams = await asyncio.gather(*(ours.answer(name, TOKENS) for name in steady))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    gaps = [later - earlier for stamps in streams for earlier, later in itertools.pairwise(stamps)]
    return statistics.quantiles(gaps, n=10)[-1]
