"""The statistics of comparing: what logarithms of paired ratios say, and what they do not.

A pair is a block of each side, one after the other with the same load, so that what the machine does for minutes is in
both. Nothing is assumed of the noise but that its differences are symmetric. scipy is imported where it is used: the
command line loads this module too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CONFIDENCE = 0.95
ALPHA = 0.05
LEAST_PAIRS = 8
"""With fewer pairs no difference reaches 0.05 for five metrics together: all of 7 on one side have p = 1/64 for one.
Below 6 there is not even a 95 % interval.
"""

LEAST_MARGIN = 0.05
"""The smallest relative difference that equivalence is asked within."""

MOST_FLOOR = 0.2
"""A noise floor above this shows no equivalence: within it, nearly everything would be equivalent."""

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Location:
    """The middle of some logarithms of ratios: the Hodges-Lehmann estimate and its interval, and the p-value of 0."""

    n: int
    estimate: float
    low: float
    high: float
    p_value: float


def location(logs: Sequence[float], confidence: float = CONFIDENCE) -> Location:
    """Return the Hodges-Lehmann estimate with the interval of the signed-rank test (Hollander et al., 2014, ch. 3).

    The interval holds the centre of a symmetric distribution with at least this probability; where there are too few
    values for that it is unbounded. The p-value is of Wilcoxon's signed-rank test, exact up to 50 values without ties.
    Raises `ValueError` for no values, or for one that is not finite.
    """
    if not logs or not all(map(math.isfinite, logs)):
        raise ValueError(f"expected finite logarithms of ratios, found {list(logs) or 'none'}")
    averages = sorted((logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i, len(logs)))
    place = critical_rank(len(logs), confidence)
    low, high = (averages[place - 1], averages[-place]) if place else (-math.inf, math.inf)
    return Location(len(logs), _middle(averages), low, high, signed_rank(logs))


def critical_rank(n: int, confidence: float) -> int:
    """Return which Walsh average from either end bounds the interval of this confidence; 0 for none.

    From the exact distribution of the signed-rank statistic: the sum of a random subset of 1 … n.
    """
    counts = [1]
    for rank in range(1, n + 1):
        longer = counts + [0] * rank
        for total, count in enumerate(counts):
            longer[total + rank] += count
        counts = longer
    tail, most = 0, (1 - confidence) / 2 * 2**n
    for place, count in enumerate(counts):
        tail += count
        if tail > most:
            return place
    return 0


def signed_rank(logs: Sequence[float], alternative: Literal["two-sided", "greater", "less"] = "two-sided") -> float:
    """Return the p-value of Wilcoxon's signed-rank test that values are symmetric about 0; 1 where all are 0."""
    from scipy.stats import wilcoxon

    if not any(logs):
        return 1.0
    return float(wilcoxon(list(logs), alternative=alternative).pvalue)


def equivalence(logs: Sequence[float], margin: float) -> float:
    """Return the p-value of two one-sided tests that the centre is beyond ± log(1 + margin) (Schuirmann, 1987).

    `margin` is a share, such as 0.05. The larger of the two one-sided p-values: at 0.05 it is what a 90 % interval
    inside of the margins says.
    """
    bound = math.log1p(margin)
    above = signed_rank([value + bound for value in logs], "greater")
    below = signed_rank([value - bound for value in logs], "less")
    return max(above, below)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being several, in the order given (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for done, place in enumerate(order):
        worst = max(worst, min(1.0, p_values[place] * (len(p_values) - done)))
        adjusted[place] = worst
    return adjusted


def noise_floor(logs: Sequence[float]) -> float:
    """Return the noise floor of pairs of a side with itself, as a share: the largest ratio that its interval holds.

    It is the effect that this machine and this number of pairs may show between things that are the same. Infinite
    below six pairs.
    """
    found = location(logs)
    return math.expm1(max(abs(found.low), abs(found.high)))


@dataclass(frozen=True, slots=True)
class Weighed:
    """A metric of a comparison: ratio of the first side to the second, before metrics are looked at together."""

    ratio: Location
    floor: float
    equivalence_p: float

    @property
    def margin(self) -> float:
        """The share within which equivalence was asked for."""
        return margin_of(self.floor)


def margin_of(floor: float) -> float:
    """Return the share within which equivalence is asked for, where the noise floor is this."""
    return max(LEAST_MARGIN, floor)


def weighed(logs: Sequence[float], same: Sequence[float]) -> Weighed:
    """Return what the pairs of two sides come to; `same` are those of the first side with itself.

    Raises what `location` raises.
    """
    floor = noise_floor(same)
    is_askable = math.isfinite(floor)
    return Weighed(location(logs), floor, equivalence(logs, margin_of(floor)) if is_askable else 1.0)


def decide(found: Weighed, difference_p: float, equivalence_p: float, *, more_is_better: bool) -> Verdict:
    """Return the verdict on the first side; both p-values are adjusted for all metrics.

    A difference needs an interval that excludes 1, an adjusted p-value of at most 0.05 and an effect above the noise
    floor; it goes before equivalence, which needs an adjusted p-value of at most 0.05 and a floor of at most
    `MOST_FLOOR`.
    """
    ratio = found.ratio
    is_outside = ratio.low > 0 or ratio.high < 0
    is_above = math.expm1(abs(ratio.estimate)) > found.floor
    if is_outside and is_above and difference_p <= ALPHA:
        return "better" if (ratio.estimate > 0) == more_is_better else "worse"
    if equivalence_p <= ALPHA and found.floor <= MOST_FLOOR:
        return "equivalent"
    return "inconclusive"


def _middle(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
