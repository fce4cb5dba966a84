"""The statistics of the suite. scipy is imported where it is used: the command line loads this module too."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

ALPHAS = (1e-2, 1e-3)
"""Levels of the two stages. Only when both reject does a check fail: a false failure about once in 100,000."""

SECOND_STAGE_SCALE = 4
"""The fresh second sample is this many times as large as the first."""

POWER = 0.9
"""Chance with which the minimum detectable effect is detected."""

LEAST_EXPECTED = 5.0
"""Smallest expected count of a bin; rarer outcomes share one (Cochran, 1954)."""


def bound_of_no_failures(n: int) -> float:
    """Return the upper 95 % bound of a rate of which `n` trials showed none: 3/n, at most 1 (Hanley, 1983)."""
    return min(1.0, 3 / n) if n > 0 else 1.0


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson, 1927). Raises `ValueError` without trials."""
    if n <= 0:
        raise ValueError(f"expected at least one trial, found {n}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = successes / n, z * z / n
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    middle = share + spread / 2
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def effective_size(values: Sequence[float]) -> float:
    """Return n(1-r)/(1+r) with r the lag-1 autocorrelation, between 1 and n: what dependent samples are worth."""
    n = len(values)
    mean = math.fsum(values) / n if n else 0.0
    variance = math.fsum((value - mean) ** 2 for value in values)
    if n < 3 or variance == 0:
        return float(n)
    r = math.fsum((a - mean) * (b - mean) for a, b in pairwise(values)) / variance
    return min(float(n), max(1.0, n * (1 - r) / (1 + r)))


@dataclass(frozen=True, slots=True)
class GTest:
    """A likelihood-ratio test of counts against probabilities.

    `statistic` is G with Williams' correction, `minimum_effect` the smallest Cohen's w that a test of this size at the
    level it was made for detects with probability `POWER`.
    """

    n: int
    bins: int
    statistic: float
    p_value: float
    minimum_effect: float


def g_test(counts: Mapping[int, int], probabilities: Mapping[int, float], alpha: float) -> GTest:
    """Test counts by outcome against their probabilities, which are normalised first (Sokal and Rohlf, 1995, ch. 17).

    Outcomes expected fewer than `LEAST_EXPECTED` times share a bin. Raises `ValueError` for a count of an outcome
    without probability, which no test is needed for, and when less than two bins are left.
    """
    from scipy.stats import chi2

    impossible = sorted(outcome for outcome, count in counts.items() if count and not probabilities.get(outcome))
    if impossible:
        raise ValueError(f"outcomes of probability 0 were counted: {impossible[:5]}")
    n, total = sum(counts.values()), math.fsum(probabilities.values())
    bins = _bins(counts, {outcome: n * p / total for outcome, p in probabilities.items()})
    if len(bins) < 2:
        raise ValueError(f"expected at least two bins of {LEAST_EXPECTED:g} expected counts, found {len(bins)}")
    raw = 2 * math.fsum(found * math.log(found / expected) for found, expected in bins if found)
    correction = 1 + (len(bins) + 1) / (6 * n)
    statistic = max(0.0, raw / correction)
    freedom = len(bins) - 1
    effect = minimum_effect(n, freedom, alpha)
    return GTest(n, len(bins), statistic, float(chi2.sf(statistic, freedom)), effect)


def minimum_effect(n: int, freedom: int, alpha: float) -> float:
    """Return the smallest Cohen's w that a chi-squared test detects with probability `POWER` (Cohen, 1988, ch. 7)."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    critical = chi2.isf(alpha, freedom)
    # From just above 0: scipy's non-central distribution is not defined at 0 itself.
    noncentrality = brentq(lambda value: ncx2.sf(critical, freedom, value) - POWER, 1e-9, 1e4)
    return math.sqrt(noncentrality / n)


@dataclass(frozen=True, slots=True)
class ScaleTest:
    """A score test that outcomes were drawn with the odds told, and not with these raised to another power.

    `minimum_change` is the smallest relative change of the power that a sample of this size at the level it was made
    for detects with probability `POWER`.
    """

    n: int
    p_value: float
    minimum_change: float


def scale_test(counts: Mapping[int, int], odds: Mapping[int, float], alpha: float) -> ScaleTest:
    """Test the mean logarithm of the odds of what was drawn against its expectation (Cox and Hinkley, 1974, ch. 4).

    It is the sufficient statistic of the power, which a G-test over all outcomes needs several times the sample for.
    Raises `ValueError` without draws, for a draw of an outcome without odds, or when all outcomes have the same odds.
    """
    n, total = sum(counts.values()), math.fsum(odds.values())
    logs = {outcome: math.log(value) for outcome, value in odds.items() if value > 0}
    impossible = sorted(outcome for outcome, count in counts.items() if count and outcome not in logs)
    if impossible or not n:
        raise ValueError(
            f"expected draws of outcomes that have odds, found {n} draws, of {impossible[:5]} among others"
        )
    mean = math.fsum(odds[outcome] / total * value for outcome, value in logs.items())
    variance = math.fsum(odds[outcome] / total * (value - mean) ** 2 for outcome, value in logs.items())
    if variance <= 0:
        raise ValueError("expected outcomes of different odds, found them all alike")
    drawn = math.fsum(count * logs[outcome] for outcome, count in counts.items()) / n
    error, normal = math.sqrt(variance / n), NormalDist()
    p_value = 2 * normal.cdf(-abs(drawn - mean) / error)
    smallest = (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(POWER)) / math.sqrt(variance * n)
    return ScaleTest(n, p_value, smallest)


def homogeneity(left: Mapping[int, int], right: Mapping[int, int]) -> float:
    """Return the p-value of a G-test that two samples have one distribution (Sokal and Rohlf, 1995, ch. 17).

    Outcomes expected fewer than `LEAST_EXPECTED` times in a sample are taken together; with one outcome left it is 1.
    """
    from scipy.stats import chi2_contingency

    n = sum(left.values()), sum(right.values())
    table, rare = [], [0, 0]
    for key in left.keys() | right.keys():
        counts = [left.get(key, 0), right.get(key, 0)]
        if sum(counts) * min(n) / sum(n) >= LEAST_EXPECTED:
            table.append(counts)
        else:
            rare = [a + b for a, b in zip(rare, counts, strict=True)]
    if sum(rare):
        table.append(rare)
    return float(chi2_contingency(table, lambda_="log-likelihood").pvalue) if len(table) > 1 else 1.0


def _bins(counts: Mapping[int, int], expected: Mapping[int, float]) -> list[tuple[int, float]]:
    """Return the found and the expected count of each bin."""
    common = [(counts.get(key, 0), value) for key, value in expected.items() if value >= LEAST_EXPECTED]
    rare = [(counts.get(key, 0), value) for key, value in expected.items() if value < LEAST_EXPECTED]
    if rare:
        found, rest = sum(count for count, _ in rare), math.fsum(value for _, value in rare)
        if rest >= LEAST_EXPECTED or not common:
            common.append((found, rest))
        else:
            smallest = min(range(len(common)), key=lambda place: common[place][1])
            count, value = common[smallest]
            common[smallest] = (count + found, value + rest)
    return common
