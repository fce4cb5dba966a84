"""Service level objectives: limits on what is measured, as a person declares them in a TOML file.

Nothing but a declared objective makes PASS or FAIL of an estimate, and only where its interval decides: one that has
the limit inside is INCONCLUSIVE.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from bellhousing.settings import Strict
from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.load.percentiles import LEAST_SIZES, Percentile, percentile
from bellhousing_conformance.load.record import Sent
from bellhousing_conformance.stats import effective_size, wilson
from bellhousing_conformance.toml_file import read_toml
from bellhousing_conformance.verdict import Figure, Judgement, Status

UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
SHARE_OF_GOOD = "share of good requests"
TARGET_METRICS = tuple(name for name in METRICS if name != "send_delay")
"""What an objective may limit: everything but the sender's own lateness."""


class Objective(Strict):
    """A limit on a percentile of a metric, such as the 90th of `ttft`. `limit` is in `unit`, seconds unless told."""

    metric: str
    percentile: int
    limit: float = Field(gt=0, allow_inf_nan=False)
    unit: str = "s"

    @field_validator("metric")
    @classmethod
    def _metric(cls, found: str) -> str:
        return _known("metric", found, TARGET_METRICS)

    @field_validator("unit")
    @classmethod
    def _unit(cls, found: str) -> str:
        return _known("unit", found, UNITS)

    @field_validator("percentile", mode="before")
    @classmethod
    def _percentile(cls, found: object) -> object:
        told = str(found).lower().removeprefix("p")
        if told not in map(str, LEAST_SIZES):
            near = min(LEAST_SIZES, key=lambda each: abs(each - _number(told)))
            expected = ", ".join(map(str, LEAST_SIZES))
            raise ValueError(f"no percentile {found!r} is estimated; did you mean {near}? There are {expected}")
        return int(told)

    @property
    def seconds(self) -> float:
        """The limit in seconds."""
        return self.limit * UNITS[self.unit]

    @property
    def name(self) -> str:
        """How it is called in a report."""
        return f"{METRICS[self.metric].title} p{self.percentile}"


class Slo(Strict):
    """The objectives of a service.

    `attainment` is the least share of requests that must be within every limit of `objective`, failures being outside;
    `goodput` the least such requests a second, `throughput` the least tokens a second, and `tax` the most milliseconds
    that the contract may add to a request beside the engine's own API.
    """

    objective: tuple[Objective, ...] = ()
    attainment: float | None = Field(None, gt=0, lt=1)
    goodput: float | None = Field(None, gt=0, allow_inf_nan=False)
    throughput: float | None = Field(None, gt=0, allow_inf_nan=False)
    tax_milliseconds: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _some(self) -> "Slo":
        if not self.objective and (self.attainment is not None or self.goodput is not None):
            raise ValueError("attainment and goodput: expected an objective that says what is good, found none")
        if self == Slo.model_construct():
            raise ValueError("expected at least one objective, found none")
        return self

    @property
    def limits(self) -> dict[str, float]:
        """The seconds within which a request is good, by metric: the strictest limit of each."""
        found: dict[str, float] = {}
        for each in self.objective:
            found[each.metric] = min(each.seconds, found.get(each.metric, each.seconds))
        return found

    @property
    def least_attainment(self) -> float:
        """The share that must be good: `attainment`, else the largest percentile of an objective."""
        if self.attainment is not None:
            return self.attainment
        return max((each.percentile for each in self.objective), default=90) / 100

    def about(self, metrics: Iterable[str]) -> tuple[Objective, ...]:
        """Return the objectives on some metrics."""
        wanted = set(metrics)
        return tuple([each for each in self.objective if each.metric in wanted])


def load_slo(file: Path) -> Slo:
    """Return the objectives of a file. Raises `ConfigurationError` naming the file, the key and what was found."""
    return read_toml(Slo, file, "SLO file")


def judged_objective(objective: Objective, rows: Sequence[Sent], deadline: float) -> Judgement:
    """Return whether the requests of a valid run keep to an objective: the whole interval must be on one side.

    The rows are in the order of the schedule.
    """
    values = METRICS[objective.metric].values(rows)
    if not values:
        problem = f"{objective.name}: no request has this metric"
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    found = percentile(values, objective.percentile)
    figures = (Figure(name=f"{objective.name} limit, s", value=objective.seconds),)
    told = f"{objective.name}: expected at most {objective.seconds:g} s, found {found.text(deadline)}"
    status = _side(found, objective.seconds)
    return Judgement(status=status, figures=figures, problems=() if status is Status.PASS else (told,))


def judged_attainment(slo: Slo, rows: Sequence[Sent], confidence: float = 0.95) -> Judgement:
    """Return whether enough of the requests are good; one that failed, or was never sent, is bad.

    The rows are in the order of the schedule. The interval is Wilson's, of as many requests as they are worth when
    neighbours depend on each other.
    """
    least, name = slo.least_attainment, SHARE_OF_GOOD
    good = [float(is_good(row, slo.limits)) for row in rows]
    if not good:
        return Judgement(status=Status.INCONCLUSIVE, problems=(f"{name}: no request was measured",))
    share, n_eff = sum(good) / len(good), effective_size(good)
    low, high = wilson_of_share(share, n_eff, confidence)
    figures = (
        Figure(name="n", value=len(good)),
        Figure(name="n_eff", value=n_eff),
        Figure(name=name, value=share, low=low, high=high),
        Figure(name="least share of good requests", value=least),
    )
    if low >= least:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"{name}: expected at least {least:g}, found {share:.3f} [{low:.3f}, {high:.3f}] of {len(good)}"
    return Judgement(status=Status.FAIL if high < least else Status.INCONCLUSIVE, figures=figures, problems=(problem,))


def wilson_of_share(share: float, n_eff: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of `n_eff` requests, rounded so that it is never narrower than theirs."""
    n = max(1, int(n_eff))
    return wilson(int(share * n), n, confidence)[0], wilson(-int(-share * n // 1), n, confidence)[1]


def is_good(row: Sent, limits: Mapping[str, float]) -> bool:
    """Tell whether a request ended well within every limit; a metric that it has not does not count against it."""
    return row.is_ok and all((value := METRICS[name].of(row)) is None or value <= most for name, most in limits.items())


def judged_floor(name: str, found: Figure, least: float) -> Judgement:
    """Return whether a figure with an interval is at least what was declared; a bound that it has not is infinite."""
    low = -math.inf if found.low is None else found.low
    high = math.inf if found.high is None else found.high
    figures = (Figure(name=f"least {name}", value=least),)
    if low >= least:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"{name}: expected at least {least:g}, found {found.value:.4g} [{low:.4g}, {high:.4g}]"
    return Judgement(status=Status.FAIL if high < least else Status.INCONCLUSIVE, figures=figures, problems=(problem,))


def _side(found: Percentile, limit: float) -> Status:
    if not found.is_printable:
        return Status.INCONCLUSIVE
    if found.high <= limit:
        return Status.PASS
    return Status.FAIL if found.low > limit else Status.INCONCLUSIVE


def _known(what: str, found: str, known: Iterable[str]) -> str:
    names = list(known)
    if found not in names:
        near = difflib.get_close_matches(found.lower(), names, n=1, cutoff=0.4)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no {what} is named {found!r}; {guess}There are {', '.join(names)}")
    return found


def _number(told: str) -> float:
    try:
        return float(told)
    except ValueError:
        return 90.0
