"""What a sender is told: everything of a run, decided before it starts."""

import math
import platform
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bellhousing import __version__
from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.record import Arrivals, Phase, RunInfo
from bellhousing_conformance.load.schedule import Schedule, digest_of
from bellhousing_conformance.load.workload import Planned, digest_of_plan

CLOSED_PHASE = "capacity"


@dataclass(frozen=True, slots=True)
class Job:
    """A run to be sent. In a closed loop, `seconds` ends it where the requests do not; an open one ends with them."""

    endpoint: Endpoint
    arrivals: Arrivals
    phases: tuple[Phase, ...]
    plan: tuple[Planned, ...]
    seed: int
    seconds: float = 0.0

    @property
    def schedule_digest(self) -> str:
        """The digest of the times of first turns; of none in a closed loop."""
        times = sorted(each.intended_ns for each in self.plan if each.intended_ns is not None)
        return digest_of(times if self.arrivals.is_open else ())

    def info(self, *, started: str, seconds: float, cpu_seconds: float, planned: int) -> RunInfo:
        """Return what is known of the run that this became."""
        return RunInfo(
            seed=self.seed,
            arrivals=self.arrivals,
            phases=self.phases,
            planned=planned,
            schedule_digest=self.schedule_digest,
            workload_digest=digest_of_plan(self.plan),
            client=self.endpoint.kind,
            address=self.endpoint.address,
            deadline_seconds=self.endpoint.deadline,
            started=started,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            suite_version=__version__,
            host=f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        )


def open_job(endpoint: Endpoint, schedule: Schedule, plan: list[Planned], seed: int) -> Job:
    """Return the job of an open loop."""
    return Job(endpoint, schedule.arrivals, schedule.phases, tuple(plan), seed)


def closed_job(endpoint: Endpoint, concurrency: int, seconds: float, plan: list[Planned], seed: int) -> Job:
    """Return the job of a closed loop, which measures capacity and nothing else. Raises `ConfigurationError`."""
    if concurrency < 1 or not 0 < seconds < math.inf:
        raise ConfigurationError(
            "closed loop: expected a concurrency of at least 1 and a number of seconds above 0,"
            f" found {concurrency} and {seconds:g}"
        )
    phase = Phase(CLOSED_PHASE, 0, round(seconds * 1e9), 0.0, 0.0, is_measured=True)
    arrivals = Arrivals("closed", 0.0, concurrency=concurrency)
    return Job(endpoint, arrivals, (phase,), tuple(plan), seed, seconds)


def write_job(job: Job, file: Path) -> None:
    """Write a job for a sender."""
    file.write_bytes(msgspec.msgpack.encode(job))


def read_job(file: Path) -> Job:
    """Return a job."""
    return msgspec.msgpack.decode(file.read_bytes(), type=Job)
