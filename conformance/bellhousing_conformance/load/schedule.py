"""When requests are sent: an absolute schedule, computed before the start and from a seed alone.

Gaps are drawn at rate 1 and mapped to time through the inverse of the cumulative rate, so that a ramp is exactly the
process that it names (Cinlar, 1975, ch. 4.7). Nothing is rescaled to a count, and nothing is moved afterwards.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import Arrivals, Phase

NS = 1e9
MOST_RATE = 10_000.0
"""Requests a second that no single sender keeps up with."""

MOST_REQUESTS = 1_000_000
"""What a sender can hold: all requests are made before the first is sent."""

CV_RANGE = (0.1, 10.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run as asked for: requests a second at its beginning and end, and seconds."""

    name: str
    rate: float
    seconds: float
    end_rate: float | None = None
    is_measured: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """The arrivals of an open loop, in ns since the origin, in order."""

    arrivals: Arrivals
    phases: tuple[Phase, ...]
    times_ns: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Return the digest of the times, `sha256:...`."""
        return digest_of(self.times_ns)

    def phase_of(self, at_ns: int) -> str:
        """Return the name of the phase of a time; the last one for its end."""
        return next((phase.name for phase in self.phases if at_ns < phase.end_ns), self.phases[-1].name)


def digest_of(times_ns: Sequence[int]) -> str:
    """Return the digest of some times in ns, `sha256:...`."""
    return "sha256:" + sha256(",".join(map(str, times_ns)).encode()).hexdigest()


def drawn(arrivals: Arrivals, stages: Sequence[Stage], seed: int) -> Schedule:
    """Return a schedule of the law `poisson` or `gamma`. Raises `ConfigurationError` for what cannot be."""
    _check(arrivals, stages)
    phases = tuple(_phases(stages))
    source = random.Random(f"arrivals/{seed}")
    total = operational(phases, phases[-1].end_ns)
    times = tuple(_at(phases, unit) for unit in _units(arrivals, source, total))
    if not times:
        raise ConfigurationError("the schedule: expected at least one request, found none: raise --rate or --duration")
    return Schedule(arrivals, phases, times)


def operational(phases: Sequence[Phase], at_ns: float) -> float:
    """Return the number of arrivals that the rates expect until a time: gaps of it have mean 1 whatever the rates."""
    total = 0.0
    for phase in phases:
        seconds = (min(at_ns, phase.end_ns) - phase.start_ns) / NS
        if seconds <= 0:
            break
        total += phase.rate * seconds + _slope(phase) * seconds * seconds / 2
    return total


def _slope(phase: Phase) -> float:
    return (phase.end_rate - phase.rate) / ((phase.end_ns - phase.start_ns) / NS)


def _units(arrivals: Arrivals, source: random.Random, total: float) -> Iterator[float]:
    """Yield arrival times of a process of rate 1 before `total`."""
    shape = 1 / arrivals.cv**2
    at = 0.0
    while (at := at + source.gammavariate(shape, 1 / shape)) < total:
        yield at


def _at(phases: Sequence[Phase], unit: float) -> int:
    """Return the time in ns at which `unit` arrivals are expected."""
    rest = unit
    for phase in phases:
        seconds = (phase.end_ns - phase.start_ns) / NS
        inside = (phase.rate + phase.end_rate) / 2 * seconds
        if rest < inside:
            return phase.start_ns + round(_solved(phase.rate, _slope(phase), rest) * NS)
        rest -= inside
    return phases[-1].end_ns


def _solved(rate: float, slope: float, units: float) -> float:
    """Return the seconds t with rate t + slope t^2 / 2 = units, in the form that is stable for small slopes."""
    root = math.sqrt(max(0.0, rate * rate + 2 * slope * units))
    return 2 * units / (rate + root) if rate + root else 0.0


def _phases(stages: Sequence[Stage]) -> Iterator[Phase]:
    ends = accumulate((stage.seconds for stage in stages), initial=0.0)
    start = round(next(ends) * NS)
    for stage, until in zip(stages, ends, strict=True):
        end = round(until * NS)
        last = stage.rate if stage.end_rate is None else stage.end_rate
        yield Phase(stage.name, start, end, stage.rate, last, stage.is_measured)
        start = end


def _check(arrivals: Arrivals, stages: Sequence[Stage]) -> None:
    if not stages:
        raise ConfigurationError("the schedule: expected at least one phase, found none")
    if not CV_RANGE[0] <= arrivals.cv <= CV_RANGE[1]:
        raise ConfigurationError(
            f"cv: expected a coefficient of variation in [{CV_RANGE[0]:g}, {CV_RANGE[1]:g}], found {arrivals.cv:g}"
        )
    for stage in stages:
        _check_stage(stage)
    expected = sum((stage.rate + (stage.end_rate or stage.rate)) / 2 * stage.seconds for stage in stages)
    if expected > MOST_REQUESTS:
        raise ConfigurationError(f"the schedule: expected at most {MOST_REQUESTS:,} requests, found {expected:,.0f}")


def _check_stage(stage: Stage) -> None:
    where = f"phase {stage.name!r}"
    if not (math.isfinite(stage.seconds) and stage.seconds > 0):
        raise ConfigurationError(f"{where}: expected a duration above 0 s, found {stage.seconds:g}")
    ends = (stage.rate, stage.rate if stage.end_rate is None else stage.end_rate)
    for rate in ends:
        if not (math.isfinite(rate) and 0 <= rate <= MOST_RATE):
            raise ConfigurationError(
                f"{where}: expected a rate above 0 and at most {MOST_RATE:g} requests/s, found {rate:g}"
            )
    if not any(ends):
        raise ConfigurationError(f"{where}: expected a rate above 0, found 0 at both ends")
