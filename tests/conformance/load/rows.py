"""Runs as a perfect sender would have recorded them, to be spoilt in one way."""

from collections.abc import Sequence
from dataclasses import replace

from bellhousing_conformance.load.gate import Gate, Run
from bellhousing_conformance.load.gates import gates
from bellhousing_conformance.load.job import Job
from bellhousing_conformance.load.record import RunInfo, Sample, Sent
from bellhousing_conformance.load.validation import LAWS, SERVICE, job_of, known_rows

SECONDS = 60.0
SEED = 7
STEP_NS = 20_000_000
FLOOR = {"ttft": 0.001, "tpot": 0.0002, "e2el": 0.002}


def perfect(law: str = "Poisson", seconds: float = SECONDS, seed: int = SEED) -> Run:
    """Return a run in which everything came exactly as it was meant to."""
    job = job_of("127.0.0.1:1", LAWS[law], seconds, seed)
    rows = known_rows([each.intended_ns or 0 for each in job.plan], SERVICE)
    return Run(rows, info_of(job, rows), FLOOR)


def info_of(job: Job, rows: Sequence[Sent]) -> RunInfo:
    """Return what a sender with time to spare knows of these rows."""
    info = job.info(started="2026-01-01T00:00:00+00:00", seconds=SECONDS, cpu_seconds=1.0, planned=len(job.plan))
    return replace(info, samples=tuple(samples_of(rows)))


def samples_of(rows: Sequence[Sent]) -> list[Sample]:
    """Return samples of these rows while they were in flight."""
    end = max(row.end_ns for row in rows)
    return [
        Sample(at, 0, sum(row.sent_ns <= at < row.end_ns for row in rows), 10**18 + at) for at in range(0, end, STEP_NS)
    ]


def gate_of(run: Run, name: str) -> Gate:
    """Return one gate of a run."""
    return next(gate for gate in gates(run) if gate.name == name)


def shifted(row: Sent, by_ns: int) -> Sent:
    """Return a row that was sent and answered later, and meant to be sent when it was."""
    return replace(
        row,
        sent_ns=row.sent_ns + by_ns,
        first_ns=None if row.first_ns is None else row.first_ns + by_ns,
        last_ns=None if row.last_ns is None else row.last_ns + by_ns,
        end_ns=row.end_ns + by_ns,
    )
