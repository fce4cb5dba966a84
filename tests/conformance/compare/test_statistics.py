"""The statistics of comparing, on data whose truth is known."""

import math
from random import Random

import pytest
from scipy.stats import binomtest, wilcoxon

from bellhousing_conformance.compare.statistics import (
    ALPHA,
    LEAST_PAIRS,
    MOST_FLOOR,
    critical_rank,
    decide,
    equivalence,
    holm,
    location,
    margin_of,
    noise_floor,
    signed_rank,
    weighed,
)

PAIRS = 20
EXPERIMENTS = 1000
NOISE = 0.08


def drawn(source: Random, centre: float = 0.0, pairs: int = PAIRS) -> list[float]:
    """Return logarithms of ratios with heavier tails than a normal law: mostly quiet, one in ten in a loud minute."""
    return [centre + source.gauss(0, NOISE * (4 if source.random() < 0.1 else 1)) for _ in range(pairs)]


def is_at_most(count: int, share: float) -> bool:
    """Tell whether a count of experiments is compatible with a rate of at most `share`."""
    return bool(binomtest(count, EXPERIMENTS, share, alternative="greater").pvalue > 1e-3)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    source, truth = Random(1), math.log(1.07)
    missed = 0
    for _ in range(EXPERIMENTS):
        found = location(drawn(source, truth))
        missed += not found.low <= truth <= found.high
    assert is_at_most(missed, 0.05)
    assert missed > 0.02 * EXPERIMENTS  # an interval that always holds it would be of no use


def test_the_interval_excludes_1_exactly_when_the_test_rejects() -> None:
    source = Random(2)
    for _ in range(300):
        logs = drawn(source, 0.05)
        found = location(logs)
        assert (found.low > 0 or found.high < 0) == (found.p_value <= 0.05)


def test_equivalence_is_seldom_found_where_the_difference_is_the_margin() -> None:
    source, edge = Random(3), math.log1p(margin_of(0.0))
    found = sum(equivalence(drawn(source, edge), margin_of(0.0)) <= ALPHA for _ in range(EXPERIMENTS))
    assert is_at_most(found, ALPHA)


def test_equivalence_is_found_of_what_is_the_same_where_the_noise_is_small() -> None:
    source = Random(4)
    found = sum(equivalence([x / 4 for x in drawn(source)], 0.05) <= ALPHA for _ in range(300))
    assert found > 0.95 * 300


def test_a_side_compared_with_itself_is_hardly_ever_better_or_worse() -> None:
    source, wrong = Random(5), 0
    for _ in range(EXPERIMENTS):
        found = weighed(drawn(source), drawn(source))
        verdict = decide(found, found.ratio.p_value, found.equivalence_p, more_is_better=False)
        wrong += verdict in {"better", "worse"}
    assert is_at_most(wrong, ALPHA)


@pytest.mark.parametrize(("effect", "verdict"), [(1.2, "worse"), (1 / 1.2, "better")])
def test_a_difference_of_20_percent_is_found(effect: float, verdict: str) -> None:
    source, right = Random(6), 0
    for _ in range(300):
        found = weighed(drawn(source, math.log(effect)), drawn(source))
        right += verdict == decide(found, found.ratio.p_value, found.equivalence_p, more_is_better=False)
    assert right > 0.9 * 300


def test_of_throughput_the_larger_ratio_is_the_better() -> None:
    found = weighed([0.3 + x / 1000 for x in range(PAIRS)], [x / 1000 - 0.01 for x in range(PAIRS)])
    assert decide(found, 0.0, 1.0, more_is_better=True) == "better"
    assert decide(found, 0.0, 1.0, more_is_better=False) == "worse"


def test_a_difference_below_the_noise_floor_is_not_claimed() -> None:
    logs = [0.03 + x / 10_000 for x in range(PAIRS)]
    loud = [(-1) ** x * 0.1 + x / 10_000 for x in range(PAIRS)]
    quiet = [x / 10_000 for x in range(PAIRS)]
    assert decide(weighed(logs, quiet), 0.0, 1.0, more_is_better=False) == "worse"
    assert noise_floor(loud) > 0.03
    assert decide(weighed(logs, loud), 0.0, 1.0, more_is_better=False) == "inconclusive"


def test_a_machine_too_noisy_finds_nothing_equivalent() -> None:
    loud = [(-1) ** x * 0.5 + x / 10_000 for x in range(PAIRS)]
    found = weighed([x / 10_000 for x in range(PAIRS)], loud)
    assert found.equivalence_p <= ALPHA  # within a margin that says nothing
    assert decide(found, 1.0, found.equivalence_p, more_is_better=False) == "inconclusive"


def test_a_difference_far_above_the_floor_is_told_where_the_floor_shows_no_equivalence() -> None:
    loud = [(-1) ** x * 0.25 + x / 10_000 for x in range(PAIRS)]
    found = weighed([math.log(3) + x / 10_000 for x in range(PAIRS)], loud)
    assert found.floor > MOST_FLOOR
    assert decide(found, 0.0, 1.0, more_is_better=False) == "worse"


def test_too_few_pairs_have_no_interval_and_decide_nothing() -> None:
    few = [0.3 + x / 1000 for x in range(5)]
    found = weighed(few, few)
    assert (found.ratio.low, found.ratio.high, found.floor) == (-math.inf, math.inf, math.inf)
    assert decide(found, found.ratio.p_value, found.equivalence_p, more_is_better=False) == "inconclusive"
    assert math.isfinite(location([*few, 0.3]).low)


def test_the_least_number_of_pairs_can_decide_for_five_metrics_and_one_less_cannot() -> None:
    p_values = [holm([signed_rank([0.3 + x / 1000 for x in range(pairs)])] * 5)[0] for pairs in (LEAST_PAIRS, 7)]
    assert p_values[0] <= ALPHA < p_values[1]


@pytest.mark.parametrize("n", [6, 10, 20, 40])
def test_the_rank_of_the_bound_is_that_of_the_tables(n: int) -> None:
    # Hollander, Wolfe and Chicken (2014), table A.4: the largest sum of ranks that 2.5 % of samples do not exceed.
    critical = {6: 0, 10: 8, 20: 52, 40: 264}
    assert critical_rank(n, 0.95) == critical[n] + 1


def test_the_p_value_is_scipys_and_of_no_difference_at_all_1() -> None:
    logs = drawn(Random(7), 0.05)
    assert signed_rank(logs) == wilcoxon(logs).pvalue
    assert signed_rank([0.0] * 10) == 1.0


def test_holm_multiplies_the_smallest_by_all_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_rate_of_any_false_difference() -> None:
    source, wrong = Random(8), 0
    for _ in range(EXPERIMENTS // 3):
        wrong += min(holm([signed_rank(drawn(source)) for _ in range(4)])) <= ALPHA
    assert bool(binomtest(wrong, EXPERIMENTS // 3, ALPHA, alternative="greater").pvalue > 1e-3)


@pytest.mark.parametrize("logs", [[], [0.1, math.inf], [0.1, math.nan]])
def test_what_is_no_ratio_is_refused(logs: list[float]) -> None:
    with pytest.raises(ValueError, match="expected finite logarithms"):
        location(logs)
