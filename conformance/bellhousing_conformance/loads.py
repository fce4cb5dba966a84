"""Loads that checks send, as rows: `run` with what is known of it, then `sent` for each request.

They are sent by the load generator from a process of its own, except where a part of the target runs in this process:
then nothing that is measured of the sender means anything, and its gates are left out.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from bellhousing_conformance.calls import Address
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import gates
from bellhousing_conformance.load.job import CLOSED_PHASE, Job, closed_job, open_job
from bellhousing_conformance.load.null import floor_of
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import Arrivals, RunInfo, Sent, read_rows, read_run
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.sender import Progress, Sender
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of, plan_of_closed
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Rows

NEEDS = ("sampling.max_tokens", "sampling.seed")
"""What every load asks of a target."""

DEADLINE = 60.0
PROMPT_TOKENS = 32
WARM_UP_REQUESTS, BURSTY_WARM_UP_REQUESTS = 50, 100
"""So that one schedule in 60 at most, even near the capacity, is not steady before its window; of 35 one in 13 is not.

In bursts one ten is rarely like the next: of 35 requests two schedules in five were not, of 100 one in 130.
"""

WARM_UP_SHARE = 0.6
"""Of the capacity: at least the rate of a warm-up."""

MOST_PLACES = 16
SMALL_REQUESTS = 30
SHARED_REQUESTS = 60
"""Where sender and target share a process: of 30, one sample in 140 is found too dependent for a median by chance."""

LONGEST_SHARE = 2
"""A load of few requests a second is at most so many times as long as others."""

ACCOUNTING = ("request ledger", "schedule", "token ledger", "reachable target")
"""Gates that mean something even where sender and target share a process."""

Told = Callable[[Progress], None]

STEADINESS = ("warm-up", "drift of ttft", "drift of tpot")
"""Gates that a target misses by being overloaded: the others judge the sender, the machine and the schedule."""


@dataclass(frozen=True)
class Load:
    """A load that was sent. `is_gated` is false where the sender shared its process with the target."""

    scenario: str
    run: Run
    is_gated: bool

    @cached_property
    def missed(self) -> dict[str, str]:
        """The gates that were not kept, each with what to say of it; a load without any is VALID."""
        found = {gate.name: gate.reason for gate in gates(self.run) if not gate.is_kept}
        return found if self.is_gated else {name: found[name] for name in found if name in ACCOUNTING}

    @property
    def measured(self) -> list[Sent]:
        """The requests of the measured time, in the order of the schedule.

        Where sender and target share a process all of them, in any order: neighbours depend on each other by the pauses
        of that process, which says nothing of the target.
        """
        if self.is_gated:
            return sorted(self.run.measured, key=lambda row: (row.intended_ns, row.index))
        rows = sorted(self.run.rows, key=lambda row: row.index)
        random.Random(0).shuffle(rows)
        return rows

    @property
    def window(self) -> tuple[int, int]:
        """The measured time, in ns since the origin."""
        return self.run.window if self.is_gated else (0, self.run.info.phases[-1].end_ns)

    @property
    def deadline(self) -> float:
        """Seconds that a request may take."""
        return self.run.info.deadline_seconds


def loads_of(rows: Rows) -> list[Load]:
    """Return the loads of an attempt, in order."""
    sent: dict[str, list[Sent]] = {}
    for row in rows:
        if row["kind"] == "sent":
            sent.setdefault(row["scenario"], []).append(msgspec.convert(row["row"], Sent))
    return [_load(row, sent.get(row["scenario"], [])) for row in rows if row["kind"] == "run"]


def _load(row: Any, sent: list[Sent]) -> Load:
    return Load(row["scenario"], Run(sent, msgspec.convert(row["info"], RunInfo), row["floor"]), row["is_gated"])


def load_in(folder: Path, floor: dict[str, float] | None, scenario: str = "load") -> Load:
    """Return the load that a folder of the load generator has. Raises `ConfigurationError` for one that it has not."""
    return Load(scenario, Run(read_rows(folder), read_run(folder), floor), is_gated=True)


def output_tokens(probe: Probe) -> int:
    """Return the tokens of an output."""
    return probe.size(smoke=12, standard=16)


async def send_open(
    probe: Probe,
    scenario: str,
    *,
    rate: float,
    seconds: float,
    cv: float = 1.0,
    confidence: float | None = None,
    told: Told = lambda _: None,
) -> Load:
    """Send an open loop, after a warm-up at its own rate or a higher one, and note it.

    `told` hears of its progress, about once a second.
    """
    stages = [Stage("measured", rate, seconds)]
    if not probe.shares_process:
        # A low rate would need minutes for as many requests.
        warm = max(rate, WARM_UP_SHARE * (probe.bench.capacity or 0.0))
        count = WARM_UP_REQUESTS if cv == 1.0 else BURSTY_WARM_UP_REQUESTS
        stages.insert(0, Stage("warm-up", warm, count / warm, is_measured=False))
    law = Arrivals("gamma" if cv != 1.0 else "poisson", rate, cv)
    seed = probe.seed()
    schedule = drawn(law, stages, seed)
    job = open_job(endpoint_of(probe), schedule, plan_of(schedule, _workload(probe), seed), seed)
    return await note(probe, scenario, job, await _floor(probe, job, rate), confidence, told)


async def send_closed(
    probe: Probe, scenario: str, *, concurrency: int, seconds: float, requests: int = 2000, tokens: int | None = None
) -> Load:
    """Send a closed loop, which measures capacity and nothing else, and note it."""
    seed = probe.seed()
    plan = plan_of_closed(requests, _workload(probe, tokens), seed, CLOSED_PHASE)
    return await note(probe, scenario, closed_job(endpoint_of(probe), concurrency, seconds, plan, seed))


def seconds_for(probe: Probe, rate: float, *, standard: int, full: int) -> float:
    """Return how long an open load is measured: the tier's time, or what the fewest useful requests need."""
    wanted = (SHARED_REQUESTS if probe.shares_process else SMALL_REQUESTS) / rate
    if probe.tier == "smoke":
        return wanted
    return max(probe.size(smoke=1, standard=standard, full=full), min(wanted, LONGEST_SHARE * standard))


async def capacity(probe: Probe) -> float:
    """Return the requests a second that the target takes, as told, or as a closed loop over its places finds it."""
    bench = probe.bench
    source = "told"
    if bench.capacity is None:
        source, places = "measured", min(MOST_PLACES, max(1, (await probe.load()).max_running))
        load = await send_closed(
            probe, "capacity", concurrency=places, seconds=probe.size(smoke=1, standard=12, full=30)
        )
        start, end = load.window
        well = sum(row.is_ok and start <= row.end_ns < end for row in load.run.rows)
        bench.capacity = max(0.1, well / max(1e-9, (end - start) / 1e9))
    probe.observe("capacity", per_second=bench.capacity, source=source)
    return bench.capacity


def endpoint_of(probe: Probe) -> Endpoint:
    """Return where loads go: outputs have their whole length where the target can ignore its end token."""
    return endpoint(probe.calls.where, probe.model.name, natural=not probe.supports("sampling.ignore_eos"))


def endpoint(where: Address, model: str, *, natural: bool, deadline: float = DEADLINE) -> Endpoint:
    """Return a target of the contract as the load generator knows it."""
    tls = where.tls
    ca, certificate, key = (str(file or "") for file in (tls.ca, tls.certificate, tls.key)) if tls else ("", "", "")
    return Endpoint("contract", where.address, model, natural, deadline, where.insecure, ca, certificate, key)


async def sent(probe: Probe, job: Job, told: Told = lambda _: None) -> tuple[list[Sent], RunInfo]:
    """Send a job from where it is to be sent."""
    if probe.shares_process:
        return await Sender(job, told).run()
    with tempfile.TemporaryDirectory(prefix="bellhousing-load-") as folder:
        return await run_load(job, Path(folder), told, token=probe.calls.where.token)


async def note(
    probe: Probe,
    scenario: str,
    job: Job,
    floor: dict[str, float] | None = None,
    confidence: float | None = None,
    told: Told = lambda _: None,
) -> Load:
    """Send a job and note it; `floor` are the medians on a server that does nothing."""
    rows, info = await sent(probe, job, told)
    is_gated = not probe.shares_process
    known = {"info": msgspec.to_builtins(info), "floor": floor, "is_gated": is_gated}
    probe.observe("run", scenario=scenario, confidence=confidence, **known)
    for row in rows:
        probe.observe("sent", scenario=scenario, row=msgspec.to_builtins(row))
    return Load(scenario, Run(rows, info, floor), is_gated)


async def _floor(probe: Probe, job: Job, rate: float) -> dict[str, float] | None:
    """Return what the same requests take on a server that does nothing, at least as fast as these come."""
    if probe.shares_process:
        return None
    bench = probe.bench
    if bench.floor is None or bench.floor_rate < rate:
        bench.floor, bench.floor_rate = await floor_of(job), rate
    return bench.floor


def _workload(probe: Probe, tokens: int | None = None) -> Workload:
    wanted = tokens or output_tokens(probe)
    return Workload(
        prompt_tokens=Lengths(low=PROMPT_TOKENS, high=PROMPT_TOKENS),
        output_tokens=Lengths(low=wanted, high=wanted),
        natural=not probe.supports("sampling.ignore_eos"),
    )
