"""Is the measuring itself right? The simulator's service times are known, so everything about a run is known too.

With constant service times and a known schedule, a first-come queue of some places has one possible history (Lindley,
1952): each request's wait, first token and end. What a sender measures must come back within `TOLERANCES`.
"""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from bellhousing.launch import ServerProcess
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.gate import Gate, Run
from bellhousing_conformance.load.gates import gates
from bellhousing_conformance.load.job import Job, open_job
from bellhousing_conformance.load.metrics import METRICS, NS, goodput, throughput
from bellhousing_conformance.load.null import floor_of
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import OK, Arrivals, RunInfo, Sent
from bellhousing_conformance.load.saboteurs import DISHONEST, DishonestSender
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of
from bellhousing_conformance.verdict import Frozen

LOAD_SECONDS = 120.0
FAILING = "zq"
"""Prompts with this text fail in the simulator of the dishonest senders."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a request costs, in seconds, and how many run at once."""

    first_token: float
    inter_token: float
    tokens: int
    places: int

    @property
    def seconds(self) -> float:
        """The time that a request holds its place."""
        return self.first_token + (self.tokens - 1) * self.inter_token

    def model(self, *, failing: str = "") -> dict[str, object]:
        """Return the simulator that serves so; requests whose prompt contains `failing` fail, if that is told."""
        faults = [{"kind": "error", "match": failing}] if failing else []
        options = {
            "first_token_seconds": self.first_token,
            "inter_token_seconds": self.inter_token,
            "faults": faults,
        }
        return {
            "backend": "simulator",
            "options": options,
            "batching": {"max_sequences": self.places},
            "admission": {"max_queued": 1000},
        }


SERVICE = Service(first_token=0.15, inter_token=0.02, tokens=16, places=4)
LAWS = {"Poisson": Arrivals("poisson", 5.0), "bursty": Arrivals("gamma", 5.0, cv=3.0)}
"""Offered load is 0.56 of what the places can take."""

LIMITS = {"ttft": 0.3}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a figure may be from the known one: an absolute part, and a share of the known."""

    absolute: float
    share: float

    def bound(self, known: float) -> float:
        """Return the largest error."""
        return self.absolute + self.share * abs(known)


GOODPUT = "goodput, requests/s"

TOLERANCES: Mapping[str, Tolerance] = {
    "TTFT p50, s": Tolerance(0.010, 0.05),
    "TTFT mean, s": Tolerance(0.015, 0.05),
    "TPOT p50, s": Tolerance(0.001, 0.05),
    "queue time mean, s": Tolerance(0.010, 0.05),
    "throughput, tokens/s": Tolerance(0.0, 0.02),
    GOODPUT: Tolerance(0.0, 0.02),
}
"""The stated error of each figure: what gRPC, two event loops and ticks of 1 ms add where there is time to spare.

That of goodput has besides the requests whose known TTFT is so near to its limit that they may fall on either side.
"""


class Figure(Frozen):
    """One figure, as known and as measured."""

    name: str
    known: float
    measured: float
    bound: float

    @property
    def is_right(self) -> bool:
        """Tell whether it came back within the stated error."""
        return abs(self.measured - self.known) <= self.bound


class Validation(Frozen):
    """One law: the figures, and the gates that must be kept for them to mean anything."""

    law: str
    figures: tuple[Figure, ...]
    gates: tuple[Gate, ...]

    @property
    def is_valid(self) -> bool:
        """Tell whether every gate was kept."""
        return all(gate.is_kept for gate in self.gates)


class Catch(Frozen):
    """A dishonest sender, and the gates that it did not get through."""

    name: str
    defect: str
    seen_by: str
    missed: tuple[str, ...]

    @property
    def is_caught(self) -> bool:
        """Tell whether the gate that must see it did."""
        return self.seen_by in self.missed


def known_rows(times_ns: Sequence[int], service: Service) -> list[Sent]:
    """Return the rows that a perfect sender would record of arrivals in order: first come, first served."""
    free = [0] * service.places
    return [_known(index, at, service, free) for index, at in enumerate(times_ns)]


def _known(index: int, at: int, service: Service, free: list[int]) -> Sent:
    start = max(at, heapq.heappop(free))
    first, step = start + round(service.first_token * NS), round(service.inter_token * NS)
    end = first + (service.tokens - 1) * step
    heapq.heappush(free, end)
    return Sent(
        index=index,
        phase="measured",
        session=None,
        adapter="",
        prompt_tokens=None,
        intended_ns=at,
        sent_ns=at,
        first_ns=first,
        last_ns=end,
        end_ns=end,
        first_tokens=1,
        tokens=service.tokens,
        usage_tokens=service.tokens,
        code=OK,
        gaps=((first - at, 1), *[(step, 1)] * (service.tokens - 1)),
        queue_ns=start - at,
    )


def compared(rows: Sequence[Sent], known: Sequence[Sent], window: tuple[int, int]) -> tuple[Figure, ...]:
    """Return every figure of measured rows beside the known one, over the requests intended in a window."""
    found = {name: (of(rows, window), of(known, window)) for name, of in _FIGURES.items()}
    return tuple(
        Figure(name=name, known=right, measured=value, bound=_bound(name, right, known, window))
        for name, (value, right) in found.items()
    )


def _bound(name: str, right: float, known: Sequence[Sent], window: tuple[int, int]) -> float:
    return TOLERANCES[name].bound(right) + (_doubtful(known, window) if name == GOODPUT else 0.0)


def _doubtful(known: Sequence[Sent], window: tuple[int, int]) -> float:
    """Return the requests a second whose TTFT is as near to its limit as the stated error of a mean TTFT."""
    limit = LIMITS["ttft"]
    near = TOLERANCES["TTFT mean, s"].bound(limit)
    count = sum(abs(value - limit) <= near for value in _values("ttft", known, window))
    return count / ((window[1] - window[0]) / NS)


def _values(name: str, rows: Sequence[Sent], window: tuple[int, int]) -> list[float]:
    return METRICS[name].values(row for row in rows if window[0] <= row.intended_ns < window[1])


FigureOf = Callable[[Sequence[Sent], tuple[int, int]], float]
_FIGURES: Mapping[str, FigureOf] = {
    "TTFT p50, s": lambda rows, window: median(_values("ttft", rows, window)),
    "TTFT mean, s": lambda rows, window: fmean(_values("ttft", rows, window)),
    "TPOT p50, s": lambda rows, window: median(_values("tpot", rows, window)),
    "queue time mean, s": lambda rows, window: fmean(_values("queue", rows, window) or [math.nan]),
    "throughput, tokens/s": lambda rows, window: throughput(rows, *window),
    GOODPUT: lambda rows, window: goodput(rows, LIMITS, *window),
}


def job_of(address: str, arrivals: Arrivals, seconds: float, seed: int, tokens: int = SERVICE.tokens) -> Job:
    """Return the job of one law."""
    schedule = drawn(arrivals, [Stage("measured", arrivals.rate, seconds)], seed)
    workload = Workload(prompt_tokens=Lengths(low=8, high=8), output_tokens=Lengths(low=tokens, high=tokens))
    return open_job(Endpoint("contract", address), schedule, plan_of(schedule, workload, seed), seed)


async def validate(law: str, seconds: float, seed: int, folder: Path) -> Validation:
    """Measure the simulator under a law of `LAWS`; the rows are left in the folder."""
    async with ServerProcess([SERVICE.model()]) as server:
        await server.wait_serving(LOAD_SECONDS)
        job = job_of(server.address, LAWS[law], seconds, seed)
        rows, info = await run_load(job, folder)
    return decided(law, rows, info, await floor_of(job))


def decided(law: str, rows: Sequence[Sent], info: RunInfo, floor: dict[str, float]) -> Validation:
    """Return what a run on the simulator comes to."""
    run = Run(rows, info, floor)
    known = known_rows([row.intended_ns for row in run.first_turns], SERVICE)
    return Validation(law=law, figures=compared(rows, known, run.window), gates=tuple(gates(run)))


async def catches(seconds: float, seed: int) -> list[Catch]:
    """Run every dishonest sender against a simulator some of whose requests fail."""
    async with ServerProcess([SERVICE.model(failing=FAILING)]) as server:
        await server.wait_serving(LOAD_SECONDS)
        job = with_failures(job_of(server.address, LAWS["Poisson"], seconds, seed))
        return [await _caught(kind, job) for kind in DISHONEST]


def with_failures(job: Job) -> Job:
    """Return the job with every tenth prompt one that fails."""
    plan = [replace(each, prompt=FAILING) if each.index % 10 == 5 else each for each in job.plan]
    return replace(job, plan=tuple(plan))


async def _caught(kind: type[DishonestSender], job: Job) -> Catch:
    rows, info = await kind(job).run()
    missed = tuple(gate.name for gate in gates(Run(rows, info)) if not gate.is_kept)
    return Catch(name=kind.__name__, defect=kind.defect, seen_by=kind.seen_by, missed=missed)
