import math
from random import Random

import pytest

from bellhousing_conformance.checks.equivalence.q04_task import paired_difference
from bellhousing_conformance.divergence import divergence, mean_interval, share_interval
from bellhousing_conformance.precision import BFLOAT16, EIGHT_BITS, FLOAT16, FLOAT32, FOUR_BITS, looser, tier_of
from bellhousing_conformance.stats import homogeneity


def logs(**probabilities: float) -> dict[str, float]:
    return {token: math.log(value) for token, value in probabilities.items()}


def test_equal_distributions_have_no_divergence() -> None:
    assert divergence(logs(a=0.7, b=0.2), logs(a=0.7, b=0.2)) == 0


def test_the_divergence_is_the_one_of_the_formula() -> None:
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(logs(a=0.5, b=0.5), logs(a=0.25, b=0.75)) == pytest.approx(expected, abs=1e-5)


def test_tokens_of_one_side_count_as_the_rest() -> None:
    assert divergence(logs(a=0.5, b=0.4), logs(a=0.5, c=0.4)) == 0
    assert divergence(logs(a=0.9, b=0.05), logs(a=0.5, c=0.4)) > 0.3


def test_the_bounds_of_a_mean_hold_it_as_often_as_they_say() -> None:
    missed = 0
    for seed in range(200):
        source = Random(seed)
        _, low, high = mean_interval([[source.gauss(0, 1)] for _ in range(40)])
        missed += not low <= 0 <= high
    assert 5 <= missed <= 40  # 20 expected, a few more in samples of 40


def test_dependent_values_widen_the_bounds() -> None:
    source = Random(1)
    values = [source.gauss(0, 1) for _ in range(20)]
    _, low, high = mean_interval([[value] * 10 for value in values])
    _, near_low, near_high = mean_interval([[value] for value in values for _ in range(10)])
    assert high - low > 2 * (near_high - near_low)


def test_a_mean_needs_a_value() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([[]])


def test_a_perfect_share_is_bounded_by_its_size() -> None:
    assert share_interval(541, 541)[0] == pytest.approx(0.995, abs=1e-4)


@pytest.mark.parametrize(("told", "tier"), [
    ("float32", FLOAT32), ("float64", FLOAT32), ("bfloat16", BFLOAT16), ("BF16", BFLOAT16), ("fp16", FLOAT16),
    ("F16", FLOAT16), ("Q8_0", EIGHT_BITS),
    ("fp8", EIGHT_BITS), ("Q4_1", FOUR_BITS), ("awq", FOUR_BITS), ("mxfp4", FOUR_BITS), ("", None), ("odd", None),
])  # fmt: skip
def test_a_precision_has_a_tier(told: str, tier: object) -> None:
    assert tier_of(told) is tier


def test_two_models_are_held_to_the_looser_tier() -> None:
    assert looser(FLOAT32, FOUR_BITS, FLOAT16) is FOUR_BITS


def test_two_samples_of_one_distribution_are_told_apart_as_often_as_the_level_says() -> None:
    def counts(seed: int) -> dict[int, int]:
        drawn = Random(seed).choices(range(5), k=200)
        return {token: drawn.count(token) for token in range(5)}

    rejected = sum(homogeneity(counts(seed), counts(seed + 10**6)) < 0.05 for seed in range(200))
    assert rejected <= 22  # 10 expected; 99.9 % of binomial(200, 0.05)


def test_samples_without_a_common_outcome_are_told_apart() -> None:
    assert homogeneity({1: 50}, {2: 50}) < 1e-9
    assert homogeneity({1: 50}, {1: 50}) == 1


def test_a_paired_difference_without_discordant_pairs_still_has_a_width() -> None:
    middle, half = paired_difference(0, 0, 200)
    assert middle == 0
    assert 0 < half < 0.01
