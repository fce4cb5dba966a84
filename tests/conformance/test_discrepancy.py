"""The discrepancy of sequences tells distributions apart, and nothing else."""

from random import Random

import pytest

from bellhousing_conformance.discrepancy import discrepancy


def drawn(seed: int, weights: tuple[float, ...], count: int) -> list[list[int]]:
    random = Random(seed)
    return [random.choices(range(len(weights)), weights, k=4) for _ in range(count)]


EVEN, SKEWED = (1.0, 1.0, 1.0, 1.0), (4.0, 2.0, 1.0, 1.0)


def test_one_distribution_is_rejected_as_often_as_the_level_says() -> None:
    values = [discrepancy([(drawn(n, EVEN, 12), drawn(n + 500, EVEN, 12))], n, 0.05).p_value for n in range(100)]
    assert sum(p < 0.05 for p in values) <= 13  # 5 expected; 99.9 % of binomial(100, 0.05)


def test_another_distribution_is_found() -> None:
    strata = [(drawn(n, EVEN, 30), drawn(n + 500, SKEWED, 30)) for n in range(3)]
    assert discrepancy(strata, 1, 0.01).p_value <= 1e-3


def test_strata_that_differ_among_themselves_are_no_discrepancy() -> None:
    strata = [(drawn(n, weights, 30), drawn(n + 500, weights, 30)) for n, weights in enumerate((EVEN, SKEWED))]
    assert discrepancy(strata, 1, 0.01).p_value > 0.01


def test_sequences_that_repeat_each_other_are_found() -> None:
    assert discrepancy([([[0, 1, 2, 3]] * 30, drawn(1, EVEN, 30))], 1, 0.01).p_value <= 1e-3


def test_the_same_seed_gives_the_same_value() -> None:
    strata = [(drawn(1, EVEN, 10), drawn(2, EVEN, 10))]
    assert discrepancy(strata, 3, 0.01) == discrepancy(strata, 3, 0.01)


def test_sets_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="two sets of one size"):
        discrepancy([(drawn(1, EVEN, 10), drawn(2, EVEN, 9))], 1, 0.01)
