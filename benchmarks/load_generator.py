"""What the load generator keeps up with: messages received, streams held, and how late it sends meanwhile."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.job import Job, open_job
from bellhousing_conformance.load.metrics import METRICS, NS
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import Arrivals, RunInfo, Sent
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of
from bellhousing_conformance.timing import quantile
from benchmarks.figures import Figure, figure
from benchmarks.processes import running

RUNS = 5
SETTLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second of so many tokens each, from the server kind that paces them as the name says."""

    kind: str
    rate: float
    tokens: int
    seconds: float

    def job(self, address: str, seed: int) -> Job:
        """Return what to send."""
        schedule = drawn(Arrivals("poisson", self.rate), [Stage("measured", self.rate, self.seconds)], seed)
        lengths = Lengths(low=self.tokens, high=self.tokens)
        workload = Workload(prompt_tokens=Lengths(low=4, high=4), output_tokens=lengths)
        return open_job(Endpoint("contract", address), schedule, plan_of(schedule, workload, seed), seed)


MESSAGES = Load("load-messages", rate=62, tokens=100, seconds=10)
STREAMS = Load("load-streams", rate=220, tokens=11, seconds=12)
"""Of 5 s each, so that 1,100 are open on average."""


async def measure() -> list[Figure]:
    """Return the figures; the generator is a process of its own and shares the machine with the server."""
    return [*_throughput(await _runs(MESSAGES)), *_held(await _runs(STREAMS))]


async def _runs(load: Load) -> list[tuple[list[Sent], RunInfo]]:
    found = []
    with running(load.kind) as server:
        for seed in range(RUNS):
            with tempfile.TemporaryDirectory(prefix="bellhousing-bench-") as folder:
                found.append(await run_load(load.job(server.address, seed), Path(folder)))
    return found


def _throughput(runs: Sequence[tuple[list[Sent], RunInfo]]) -> list[Figure]:
    start, end = SETTLED_SECONDS * NS, MESSAGES.seconds * NS
    received = [sum(start <= at < end for row in rows for at, _ in row.stamps) / (end - start) * NS for rows, _ in runs]
    return [
        figure("messages received in a second, simulator", received, at_least=5000),
        _delay("send delay p99 meanwhile", runs),
        figure("processor time of the generator meanwhile", [_cpu(info) for _, info in runs], at_most=100, unit=" %"),
    ]


def _held(runs: Sequence[tuple[list[Sent], RunInfo]]) -> list[Figure]:
    most = [float(max(sample.in_flight for sample in info.samples)) for _, info in runs]
    failed = [float(sum(not row.is_ok for row in rows)) for rows, _ in runs]
    return [
        figure("streams open at once", most, at_least=1000),
        figure("of their requests, failed", failed, at_most=0),
        _delay("send delay p99 with them", runs),
    ]


def _delay(name: str, runs: Sequence[tuple[list[Sent], RunInfo]]) -> Figure:
    found = [quantile(METRICS["send_delay"].values(rows), 0.99) * 1000 for rows, _ in runs]
    return figure(name, found, at_most=5, unit=" ms")


def _cpu(info: RunInfo) -> float:
    return info.cpu_seconds / info.seconds * 100
