"""The discrepancy of sequences tells distributions apart, and nothing else."""

from random import Random

import pytest

from bellhousing_conformance.discrepancy import Discrepancy, Sequences, discrepancy

EVEN, SKEWED = (1.0, 1.0, 1.0, 1.0), (4.0, 2.0, 1.0, 1.0)
BOTH_KERNELS = pytest.mark.parametrize("neighbours", [True, False])


def drawn(seed: int, weights: tuple[float, ...], count: int) -> list[list[int]]:
    random = Random(seed)
    return [random.choices(range(len(weights)), weights, k=4) for _ in range(count)]


def of(
    strata: list[tuple[Sequences, Sequences]],
    length: int = 4,
    seed: int = 1,
    alpha: float = 0.01,
    *,
    neighbours: bool = True,
) -> Discrepancy:
    return discrepancy(strata, length, seed=seed, alpha=alpha, neighbours=neighbours)


@BOTH_KERNELS
def test_one_distribution_is_rejected_as_often_as_the_level_says(*, neighbours: bool) -> None:
    pairs = [(drawn(n, EVEN, 12), drawn(n + 500, EVEN, 12)) for n in range(100)]
    values = [of([pair], seed=n, alpha=0.05, neighbours=neighbours).p_value for n, pair in enumerate(pairs)]
    assert sum(p < 0.05 for p in values) <= 13  # 5 expected; 99.9 % of binomial(100, 0.05)


@BOTH_KERNELS
def test_another_distribution_is_found(*, neighbours: bool) -> None:
    strata = [(drawn(n, EVEN, 30), drawn(n + 500, SKEWED, 30)) for n in range(3)]
    assert of(list(strata), neighbours=neighbours).p_value <= 1e-3


def test_strata_that_differ_among_themselves_are_no_discrepancy() -> None:
    strata = [(drawn(n, weights, 30), drawn(n + 500, weights, 30)) for n, weights in enumerate((EVEN, SKEWED))]
    assert of(list(strata)).p_value > 0.01


def test_sequences_that_repeat_each_other_are_found() -> None:
    assert of([([[0, 1, 2, 3]] * 30, drawn(1, EVEN, 30))]).p_value <= 1e-3


def test_the_effect_is_the_squared_distance_relative_to_the_squared_length() -> None:
    # Probabilities (1, 0) and (0, 1): distance 2, length 1.
    found = of([([[0]] * 5, [[1]] * 5)] * 3, 1, neighbours=False)
    assert (found.effect, found.low, found.high) == pytest.approx((2, 2, 2))


def test_an_ended_sequence_differs_from_one_that_goes_on() -> None:
    assert of([([[0]] * 5, [[0, 0]] * 5)], 2).effect > 0


def test_the_same_seed_gives_the_same_value() -> None:
    strata: list[tuple[Sequences, Sequences]] = [(drawn(1, EVEN, 10), drawn(2, EVEN, 10))]
    assert of(strata, seed=3) == of(strata, seed=3)


def test_sets_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="two sets of one size"):
        of([(drawn(1, EVEN, 10), drawn(2, EVEN, 9))])
