"""K01: memory does not grow."""

from statistics import median

from bellhousing_conformance.check import check
from bellhousing_conformance.loads import NEEDS
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.soak import HOUR, MIB, memory_trend, soak
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

SHARE_AN_HOUR = 0.01


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the slope of resident memory; its interval (Theil-Sen, 95 %) must be below the limit as a whole."""
    asked, trend = next((row for row in rows if row["kind"] == "soak"), None), memory_trend(rows)
    if asked is None or trend is None:
        return Judgement(status=Status.INCONCLUSIVE, problems=("too few looks at the memory",))
    slope, low, high = trend.slope, trend.low, trend.high
    sizes = [size for _, size in trend.settled]
    most = max(SHARE_AN_HOUR * median(sizes), asked["resolution"] / MIB / (asked["seconds"] / HOUR))
    figures = (
        Figure(name="n", value=len(sizes)),
        Figure(name="growth, MiB an hour", value=slope, low=low, high=high),
        Figure(name="limit, MiB an hour", value=most),
        Figure(name="minimum detectable growth, MiB an hour", value=most + (high - low) / 2),
        Figure(name="soaked, hours", value=asked["seconds"] / HOUR),
    )
    if high <= most:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"growth: expected at most {most:.3g} MiB an hour, found {slope:.3g} [{low:.3g}, {high:.3g}]"
    return Judgement(status=Status.FAIL if low > most else Status.INCONCLUSIVE, figures=figures, problems=(problem,))


@check(
    "K01",
    title="Resident memory grows by at most 1 % an hour",
    clause="bellhousing.v1.Inference.Generate",
    profile="soak",
    tier="full",
    needs=NEEDS,
    hooks=("rss",),
    judge=judge,
    statistic="Theil-Sen slope of resident memory over a soak, 95 % interval",
    finds="memory that stays of requests: 1 % an hour in a soak that is long enough, as the figures tell",
    alone=True,
    seconds=300,
)
async def memory_does_not_grow(probe: Probe) -> None:
    """Soak, and look at the resident memory of all processes."""
    await soak(probe)
