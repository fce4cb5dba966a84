"""K01: memory does not grow."""

from statistics import median

from bellhousing_conformance.check import check
from bellhousing_conformance.loads import NEEDS
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.soak import soak
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

SHARE_AN_HOUR = 0.01
SETTLED_SHARE = 0.2
"""Of the looks, the first ones: caches and pools fill then."""

LEAST_LOOKS = 8
HOUR, MIB = 3600.0, 2**20


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the slope of resident memory; its interval (Theil-Sen, 95 %) must be below the limit as a whole."""
    told = [row for row in rows if row["kind"] == "held" and row["phase"] == "during" and "rss" in row]
    told = told[int(SETTLED_SHARE * len(told)) :]
    asked = next((row for row in rows if row["kind"] == "soak"), None)
    if asked is None or len(told) < LEAST_LOOKS:
        return Judgement(status=Status.INCONCLUSIVE, problems=(f"{len(told)} looks at the memory",))
    from scipy.stats import theilslopes

    sizes = [row["rss"] / MIB for row in told]
    found = theilslopes(sizes, [row["seconds"] / HOUR for row in told], alpha=0.95)
    slope, low, high = float(found.slope), float(found.low_slope), float(found.high_slope)
    most = max(SHARE_AN_HOUR * median(sizes), asked["resolution"] / MIB / (asked["seconds"] / HOUR))
    figures = (
        Figure(name="n", value=len(told)),
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
