"""The centre of differences or log ratios of pairs, and its interval."""

import math
from collections.abc import Sequence


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the Hodges-Lehmann estimate and its interval by signed ranks (Hollander and Wolfe, 1999, ch. 3).

    Raises `ValueError` without values.
    """
    from scipy.stats import norm

    n = len(values)
    if not n:
        raise ValueError("expected at least one difference, found none")
    means = sorted((a + b) / 2 for place, a in enumerate(values) for b in values[place:])
    count, z = len(means), float(norm.ppf(0.5 + confidence / 2))
    cut = max(0, math.floor(count / 2 - z * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)))
    return means[count // 2], means[cut], means[count - 1 - cut]
