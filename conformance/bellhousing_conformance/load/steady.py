"""When a target is warm, and whether a metric drifts."""

import math
from collections.abc import Sequence
from statistics import median

from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.load.record import Sent
from bellhousing_conformance.stats import effective_size

LEAST_WARM_UP = 20
BLOCK = 10
STEADY_SHARE, CHANCE = 0.1, 0.05
LEAST_VALUES = 30


def warm_up(rows: Sequence[Sent]) -> int | None:
    """Return after how many requests the TTFT of two successive tens are alike.

    Their medians are within 10 %, or further apart by no more than chance makes of ten (Mann and Whitney, 1947, at
    5 %): a loaded target's TTFT vary by more than 10 % when nothing changes. At least 20; None when that is never so,
    or when no request comes after.
    """
    values = [METRICS["ttft"].of(row) for row in rows]
    for end in range(LEAST_WARM_UP, len(values), BLOCK):
        if _are_alike(*(_known(values[start : start + BLOCK]) for start in (end - 2 * BLOCK, end - BLOCK))):
            return end
    return None


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _are_alike(earlier: Sequence[float], later: Sequence[float]) -> bool:
    if not earlier or not later:
        return False
    if abs(median(later) - median(earlier)) <= STEADY_SHARE * median(earlier):
        return True
    from scipy.stats import mannwhitneyu

    return bool(mannwhitneyu(earlier, later).pvalue >= CHANCE)


def drift(values: Sequence[float]) -> float | None:
    """Return the p-value of a trend in values in the order in which they came; None for fewer than 30.

    Spearman's rank correlation with the order (1904), with as many degrees of freedom as the values are worth when
    neighbours depend on each other. A failure ranks last.
    """
    from scipy.stats import rankdata, t

    if len(values) < LEAST_VALUES:
        return None
    ranks = [float(rank) for rank in rankdata(values)]
    n, mean = len(ranks), math.fsum(ranks) / len(ranks)
    middle = (n - 1) / 2
    spread = math.fsum((rank - mean) ** 2 for rank in ranks) * math.fsum((i - middle) ** 2 for i in range(n))
    if spread == 0:
        return 1.0
    rho = math.fsum((rank - mean) * (i - middle) for i, rank in enumerate(ranks)) / math.sqrt(spread)
    # What is left of the dependence once the trend itself is taken out.
    slope = rho * math.sqrt(
        math.fsum((rank - mean) ** 2 for rank in ranks) / math.fsum((i - middle) ** 2 for i in range(n))
    )
    freedom = effective_size([rank - slope * (i - middle) for i, rank in enumerate(ranks)]) - 2
    if freedom <= 0:
        return 1.0
    statistic = abs(rho) * math.sqrt(freedom / max(1e-12, 1 - rho * rho))
    return float(2 * t.sf(statistic, freedom))
