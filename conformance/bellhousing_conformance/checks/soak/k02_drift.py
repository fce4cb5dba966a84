"""K02: a target does not tire."""

import math
from statistics import fmean, median, pvariance

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import invalid
from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.loads import NEEDS, STEADINESS, loads_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.soak import soak
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST_CHANGE, LEAST_SIGNAL = 0.15, 2.0
BLOCKS = 5
"""Of each third; their medians tell how much latency varies by itself."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the medians of the first and the last third: slower by 15 %, and by twice their own variation, fails."""
    load = next((load for load in loads_of(rows) if load.scenario == "soak"), None)
    if load is None:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no soak was sent",))
    wrong = invalid(load, ignoring=STEADINESS)
    values = [
        value
        for value in METRICS["e2el"].values(sorted(load.measured, key=lambda row: row.intended_ns))
        if math.isfinite(value)
    ]
    third = len(values) // 3
    if wrong is not None or third < 2 * BLOCKS:
        return wrong or Judgement(status=Status.INCONCLUSIVE, problems=(f"{len(values)} requests",))
    early, late = _medians(values[:third]), _medians(values[-third:])
    change = median(values[-third:]) / median(values[:third]) - 1
    noise = math.sqrt((pvariance(early) + pvariance(late)) / 2) / fmean(early)
    signal = change / noise if noise else math.copysign(1e9, change)
    figures = (
        Figure(name="n", value=len(values)),
        Figure(name="change of the median latency", value=change),
        Figure(name="signal over noise", value=signal),
        Figure(name="minimum detectable change", value=max(LEAST_CHANGE, LEAST_SIGNAL * noise)),
    )
    if change < LEAST_CHANGE:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"median latency of the last third: expected less than {LEAST_CHANGE:.0%} more, found {change:.0%}"
    return Judgement(
        status=Status.FAIL if signal >= LEAST_SIGNAL else Status.INCONCLUSIVE, figures=figures, problems=(problem,)
    )


def _medians(values: list[float]) -> list[float]:
    step = len(values) / BLOCKS
    return [median(values[int(step * place) : int(step * (place + 1))]) for place in range(BLOCKS)]


@check(
    "K02",
    title="Latency at the end of a soak is that of its beginning, to within 15 %",
    clause="bellhousing.v1.Timeline",
    profile="soak",
    tier="full",
    needs=NEEDS,
    judge=judge,
    statistic="ratio of the medians of the last and the first third, beside the variation of medians of blocks",
    finds="latency that rises by 15 % of a soak, where that is twice its own variation",
    alone=True,
    seconds=300,
)
async def latency_does_not_drift(probe: Probe) -> None:
    """Soak, and compare the first with the last third."""
    await soak(probe)
