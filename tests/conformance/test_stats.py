import math
from random import Random

import pytest

from bellhousing_conformance.stats import (
    bound_of_no_failures,
    effective_size,
    g_test,
    minimum_effect,
    scale_test,
    wilson,
)

FAIR = dict.fromkeys(range(10), 1.0)


def counted(weights: list[float], n: int, seed: int) -> dict[int, int]:
    drawn = Random(seed).choices(range(len(weights)), weights, k=n)
    return {token: drawn.count(token) for token in range(len(weights))}


def test_no_failures_in_n_bound_the_rate_by_three_over_n() -> None:
    assert bound_of_no_failures(300) == pytest.approx(0.01)
    assert bound_of_no_failures(0) == 1


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe, 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_wilson_needs_a_trial() -> None:
    with pytest.raises(ValueError, match="at least one trial, found 0"):
        wilson(0, 0)


def test_dependent_samples_are_worth_less() -> None:
    steps = [float(place // 10) for place in range(100)]
    assert effective_size(steps) < 10
    assert effective_size([float(place % 2) for place in range(100)]) == 100


def test_draws_from_the_model_are_rejected_as_often_as_the_level_says() -> None:
    rejected = sum(g_test(counted([1.0] * 10, 500, seed), FAIR, 0.05).p_value < 0.05 for seed in range(400))
    assert 6 <= rejected <= 36  # 20 expected; 99.9 % of binomial(400, 0.05)


def test_draws_at_the_minimum_effect_are_found_as_often_as_the_power_says() -> None:
    effect = minimum_effect(2000, 9, 0.01)
    weights = [1 + effect, 1 - effect] * 5  # Cohen's w of these is the effect
    found = sum(g_test(counted(weights, 2000, seed), FAIR, 0.01).p_value < 0.01 for seed in range(100))
    assert 78 <= found <= 99  # 90 expected; 99.9 % of binomial(100, 0.9)


def test_a_count_of_something_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probability 0 were counted: \[10\]"):
        g_test({10: 1}, FAIR, 0.01)


def test_too_small_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two bins"):
        g_test({0: 3}, FAIR, 0.01)


def scaled(power: float) -> dict[int, float]:
    """Return odds that fall by a half from token to token, raised to a power."""
    return {token: math.exp(-0.5 * token * power) for token in range(12)}


def test_odds_that_are_right_are_rejected_as_often_as_the_level_says() -> None:
    odds = scaled(1.0)
    draws = [counted(list(odds.values()), 500, seed) for seed in range(400)]
    rejected = sum(scale_test(each, odds, 0.05).p_value < 0.05 for each in draws)
    assert 6 <= rejected <= 36  # 20 expected; 99.9 % of binomial(400, 0.05)


def test_a_power_at_the_minimum_change_is_found_as_often_as_the_power_of_the_test_says() -> None:
    odds = scaled(1.0)
    change = scale_test(counted(list(odds.values()), 2000, 0), odds, 0.01).minimum_change
    draws = [counted(list(scaled(1 + change).values()), 2000, seed) for seed in range(100)]
    found = sum(scale_test(each, odds, 0.01).p_value < 0.01 for each in draws)
    assert 76 <= found <= 99  # 90 expected; 99.9 % of binomial(100, 0.9)


@pytest.mark.parametrize(("counts", "odds"), [({}, FAIR), ({99: 1}, scaled(1.0)), ({1: 5}, FAIR)])
def test_a_power_that_no_draw_can_tell_is_refused(counts: dict[int, int], odds: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        scale_test(counts, odds, 0.01)
