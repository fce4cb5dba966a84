"""When a target is warm, and whether a metric drifts."""

import math
from collections.abc import Sequence
from statistics import median

from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.load.record import Sent
from bellhousing_conformance.stats import effective_size

LEAST_WARM_UP = 20
BLOCK = 10
STEADY_SHARE = 0.1
LEAST_VALUES = 30


def warm_up(rows: Sequence[Sent]) -> int | None:
    """Return after how many requests the medians of the TTFT of two successive tens are within 10 %.

    At least 20; None when that is never so, or when no request comes after.
    """
    values = [METRICS["ttft"].of(row) for row in rows]
    for end in range(LEAST_WARM_UP, len(values), BLOCK):
        earlier, later = (_median(values[start : start + BLOCK]) for start in (end - 2 * BLOCK, end - BLOCK))
        if earlier and later and abs(later / earlier - 1) <= STEADY_SHARE:
            return end
    return None


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None and math.isfinite(value)]
    return median(found) if found else None


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
