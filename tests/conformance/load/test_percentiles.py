import math
from heapq import heappop, heappush
from random import Random

import pytest
from scipy.stats import quantile_test

from bellhousing_conformance.load.percentiles import interval_ranks, percentile

TRIALS = 400
BEFORE_STEADY = 500


def covers(percent: int, values: list[float], true: float) -> bool:
    found = percentile(values, percent)
    return found.low <= true <= found.high


@pytest.mark.parametrize("percent", [50, 90])
def test_the_interval_of_independent_values_covers_the_percentile_as_often_as_it_says(percent: int) -> None:
    true = -math.log(1 - percent / 100)
    covered = sum(
        covers(percent, [draw.expovariate(1) for _ in range(200)], true) for draw in map(Random, range(TRIALS))
    )
    assert covered >= 364  # 380 expected at 95 %; below with a chance of 1 % at most


def test_the_interval_of_dependent_values_is_wide_enough() -> None:
    def walk(draw: Random) -> list[float]:
        values = [draw.gauss(0, 1)]
        while len(values) < 400:
            values.append(0.6 * values[-1] + 0.8 * draw.gauss(0, 1))
        return values

    covered = sum(covers(50, walk(Random(seed)), 0.0) for seed in range(200))
    assert covered >= 178  # 190 expected


def test_the_ranks_are_those_of_scipys_quantile_test() -> None:
    values = [float(value) for value in range(1, 201)]
    low, high = interval_ranks(200, 0.9, 0.95)
    found = quantile_test(values, q=0, p=0.9).confidence_interval(0.95)
    assert (found.low, found.high) == (values[low - 1], values[high - 1])


def test_failures_are_in_the_percentile() -> None:
    values = [*[0.1] * 150, *[math.inf] * 50]
    Random(1).shuffle(values)
    found = percentile(values, 90)
    assert found.value == math.inf
    assert ">30 s" in found.text(deadline=30)


def test_a_percentile_is_not_printed_of_too_few_values() -> None:
    draw = Random(1)
    assert "not printed" in percentile([draw.random() for _ in range(300)], 99).text(deadline=30)
    assert "not printed" not in percentile([draw.random() for _ in range(300)], 90).text(deadline=30)


def test_a_bound_that_the_sample_does_not_have_is_infinite() -> None:
    draw = Random(1)
    assert percentile([draw.random() for _ in range(100)], 99).high == math.inf


def waits(count: int, seed: int) -> list[float]:
    """Return the waits of a queue of four places with constant service times, at 0.8 of its capacity."""
    draw, free, at = Random(seed), [0.0] * 4, 0.0
    found = []
    for _ in range(BEFORE_STEADY + count):
        at += draw.expovariate(0.8 * 4)
        start = max(at, heappop(free))
        heappush(free, start + 1)
        found.append(start - at)
    return found[BEFORE_STEADY:]


def test_the_interval_of_a_busy_queue_covers_its_percentile_nearly_as_often_as_it_says() -> None:
    true = sorted(waits(300_000, 0))[270_000]
    assert sum(covers(90, waits(1700, seed), true) for seed in range(1, 151)) >= 132  # 88 %; of n_eff alone 79 %


def test_values_that_hang_together_in_blocks_have_a_wider_interval() -> None:
    draw = Random(1)
    values = [middle + draw.gauss(0, 0.01) for middle in [draw.gauss(1, 0.3) for _ in range(20)] for _ in range(30)]
    found, alone = percentile(values, 50), percentile(draw.sample(values, 600), 50)
    assert found.high - found.low > 1.5 * (alone.high - alone.low)


def test_an_interval_of_failures_is_one() -> None:
    found = percentile([math.inf] * 200, 50)
    assert (found.low, found.high) == (math.inf, math.inf)


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([math.nan], 50), ([1.0], 42)])
def test_what_has_no_percentile_is_refused(values: list[float], percent: int) -> None:
    with pytest.raises(ValueError, match="percentile: expected"):
        percentile(values, percent)
