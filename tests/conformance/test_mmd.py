from random import Random

import pytest

from bellhousing_conformance.mmd import Sequences, discrepancy


def drawn(weights: list[float], prompts: int, seed: int) -> list[Sequences]:
    source = Random(seed)
    return [[source.choices(range(len(weights)), weights, k=4) for _ in range(20)] for _ in range(prompts)]


def compared(left: list[float], right: list[float], seed: int) -> float:
    pairs = zip(drawn(left, 4, seed), drawn(right, 4, seed + 10**6), strict=True)
    return discrepancy(list(pairs), 4).p_value


def test_equal_distributions_are_rejected_as_often_as_the_level_says() -> None:
    rejected = sum(compared([1, 1, 1, 1], [1, 1, 1, 1], seed) < 0.05 for seed in range(100))
    assert rejected <= 13  # 5 expected; 99.9 % of binomial(100, 0.05)


def test_different_distributions_are_found() -> None:
    assert compared([4, 1, 1, 1], [1, 1, 1, 4], 1) < 0.001


def test_the_effect_is_the_squared_distance_relative_to_the_squared_length() -> None:
    # Probabilities (1, 0) and (0, 1): distance 2, length 1.
    found = discrepancy([([[0]] * 5, [[1]] * 5)] * 3, 1)
    assert (found.effect, found.low, found.high) == pytest.approx((2, 2, 2))


def test_an_ended_sequence_differs_from_one_that_goes_on() -> None:
    assert discrepancy([([[0]] * 5, [[0, 0]] * 5)], 2).effect > 0


def test_sides_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="as many sequences of each side"):
        discrepancy([([[0]] * 3, [[0]] * 2)], 1)
