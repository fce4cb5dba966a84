"""Percentiles with intervals, and when one may be printed. A failed request ranks as infinitely slow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import stdev

from bellhousing_conformance.stats import effective_size

LEAST_SIZES: Mapping[int, int] = {50: 11, 90: 64, 95: 130, 99: 662}
"""Effective samples below which a percentile is not printed: those of MLPerf's early stopping at 99 % confidence."""

BLOCKS, LEAST_OF_BLOCKS = 10, 100
"""Blocks of fewer than ten values tell nothing of a share."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile and its interval.

    `value` may be infinite: then the percentile is one of the failures. An infinite `low` or `high` is a bound that the
    sample does not have. `n_eff` is what the sample is worth when neighbours depend on each other.
    """

    percent: int
    n: int
    n_eff: float
    value: float
    low: float
    high: float

    @property
    def is_printable(self) -> bool:
        """Tell whether the sample is large enough for it."""
        return self.n_eff >= LEAST_SIZES[self.percent]

    def text(self, deadline: float, unit: str = "s") -> str:
        """Return it as people read it; a failure is a value above the deadline."""
        if not self.is_printable:
            return f"not printed: {self.n_eff:.0f} effective samples of {LEAST_SIZES[self.percent]}"
        low, value, high = (_bounded(each, deadline) for each in (self.low, self.value, self.high))
        return f"{value} {unit} [{low}, {high}]"


def percentile(values: Sequence[float], percent: int, confidence: float = 0.95) -> Percentile:
    """Return a percentile of values in the order in which they came (Conover, 1999, section 3.2).

    The interval is that of `n_eff` independent values, or of blocks of successive ones where that is wider, so that
    dependence widens it. Raises `ValueError` for no values, for one that is not a number and for a percentile that is
    not in `LEAST_SIZES`.
    """
    if percent not in LEAST_SIZES:
        raise ValueError(f"percentile: expected one of {', '.join(map(str, LEAST_SIZES))}, found {percent}")
    if not values or any(map(math.isnan, values)):
        raise ValueError(f"percentile: expected numbers, found {'a NaN' if values else 'no values'}")
    ordered, n = sorted(values), len(values)
    n_eff = effective_size(ranks(values))
    low, high = interval_ranks(n_eff, percent / 100, confidence)
    lowest, highest = math.floor(low * n / math.floor(n_eff)), math.ceil(high * n / math.floor(n_eff))
    value = ordered[max(0, -(-percent * n // 100) - 1)]
    if n >= LEAST_OF_BLOCKS:
        low, high = _ranks_by_blocks(values, value, percent / 100, confidence)
        lowest, highest = min(lowest, low), max(highest, high)
    return Percentile(
        percent=percent,
        n=n,
        n_eff=n_eff,
        value=value,
        low=ordered[lowest - 1] if lowest >= 1 else -math.inf,
        high=ordered[highest - 1] if highest <= n else math.inf,
    )


def interval_ranks(n: float, share: float, confidence: float) -> tuple[int, int]:
    """Return the ranks, from 1, of the order statistics that enclose a quantile with at least this confidence.

    Rank 0 and a rank above n mean that the sample is too small for that bound. Raises `ValueError` below one value.
    """
    from scipy.stats import binom

    size = math.floor(n)
    if size < 1:
        raise ValueError(f"expected at least one value, found {n:g}")
    tail = (1 - confidence) / 2
    return int(binom.ppf(tail, size, share)), int(binom.ppf(1 - tail, size, share)) + 1


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, equal ones sharing theirs: dependence can be told of them where some are infinite.

    Source: the autocorrelation of ranks is Spearman's (1904).
    """
    from scipy.stats import rankdata

    return [float(rank) for rank in rankdata(values)]


def _ranks_by_blocks(values: Sequence[float], value: float, share: float, confidence: float) -> tuple[int, int]:
    """Return the ranks that enclose a quantile by Student's interval of the shares within it in successive blocks.

    Batch means (Heidelberger and Lewis, 1984) see dependence that reaches further than from a value to the next, as a
    queue that is long for seconds makes it.
    """
    from scipy.stats import t

    n = len(values)
    edges = [n * place // BLOCKS for place in range(BLOCKS + 1)]
    within = [math.isfinite(each) and each <= value for each in values]
    shares = [sum(within[start:end]) / (end - start) for start, end in pairwise(edges)]
    half = float(t.ppf(0.5 + confidence / 2, BLOCKS - 1)) * stdev(shares) / math.sqrt(BLOCKS)
    return math.floor((share - half) * n), math.ceil((share + half) * n) + 1


def _bounded(value: float, deadline: float) -> str:
    if value == math.inf:
        return f">{deadline:g}"
    return "-∞" if value == -math.inf else f"{value:.4g}"
