import math
import random
from dataclasses import replace
from statistics import median

import pytest

from bellhousing_conformance.load.record import Arrivals, Sent
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.steady import drift, warm_up
from bellhousing_conformance.load.validation import Service, known_rows
from bellhousing_conformance.loads import BURSTY_WARM_UP_REQUESTS, WARM_UP_REQUESTS
from tests.conformance.load.rows import perfect

FIRST = perfect(seconds=5).rows[0]


def rows(*ttft_ms: float) -> list[Sent]:
    return [
        replace(FIRST, index=place, first_ns=FIRST.intended_ns + round(ms * 1e6)) for place, ms in enumerate(ttft_ms)
    ]


def test_a_target_that_is_steady_from_the_first_has_a_warm_up_of_twenty() -> None:
    assert warm_up(rows(*[100] * 40)) == 20


def test_a_warm_up_lasts_until_two_tens_are_alike() -> None:
    assert warm_up(rows(*[500] * 10, *[300] * 10, *[200] * 10, *[100] * 30)) == 50


def test_tens_that_differ_by_chance_alone_are_alike() -> None:
    scattered = [60, 200, 90, 310, 120, 80, 150, 240, 70, 110, 190, 75, 260, 95, 330, 130, 85, 160, 250, 105]
    assert abs(median(scattered[10:]) / median(scattered[:10]) - 1) > 0.1
    assert warm_up(rows(*scattered, 100)) == 20


def test_a_cold_start_among_scattered_requests_is_seen() -> None:
    scattered = [60, 200, 90, 310, 120, 80, 150, 240, 70, 110]
    assert warm_up(rows(*[900 + value for value in scattered], *scattered, *scattered, 100)) == 30


def test_what_never_is_steady_has_no_warm_up() -> None:
    assert warm_up(rows(*[100 * 1.3 ** (place // 10) for place in range(80)])) is None


@pytest.mark.parametrize("count", [0, 19, 20])
def test_what_leaves_no_request_to_measure_has_no_warm_up(count: int) -> None:
    assert warm_up(rows(*[100] * count)) is None


def test_failures_alone_are_not_steady() -> None:
    assert warm_up([replace(row, code="INTERNAL") for row in rows(*[100] * 60)]) is None


def test_a_trend_is_seen() -> None:
    source = random.Random(1)
    p = drift([place + source.gauss(0, 50) for place in range(200)])
    assert p is not None
    assert p < 1e-6


def test_failures_towards_the_end_are_a_trend() -> None:
    source = random.Random(2)
    p = drift([source.random() if place < 100 else math.inf for place in range(120)])
    assert p is not None
    assert p < 1e-3


def test_values_without_a_trend_have_none() -> None:
    source = random.Random(3)
    low = sum((drift([source.random() for _ in range(100)]) or 0) < 0.05 for _ in range(200))
    assert low < 25


def test_dependent_values_without_a_trend_are_seldom_taken_for_one() -> None:
    source = random.Random(4)

    def wave() -> list[float]:
        values = [0.0]
        while len(values) < 300:
            values.append(0.7 * values[-1] + source.gauss(0, 1))
        return values

    assert sum((drift(wave()) or 0) < 0.001 for _ in range(200)) <= 4


def test_values_that_are_all_alike_have_no_trend() -> None:
    assert drift([1.0] * 50) == 1.0


def test_few_values_decide_nothing() -> None:
    assert drift([1.0] * 29) is None


@pytest.mark.parametrize(("cv", "count"), [(1.0, WARM_UP_REQUESTS), (3.0, BURSTY_WARM_UP_REQUESTS)])
def test_a_warm_up_of_checks_is_long_enough_for_a_target_near_its_capacity(cv: float, count: int) -> None:
    service = Service(first_token=0.067, inter_token=0.005, tokens=16, places=8)
    rate = 0.8 * service.places / service.seconds
    law = Arrivals("gamma", rate, cv)
    stages = [Stage("warm-up", rate, count / rate, is_measured=False), Stage("measured", rate, 5.0)]
    cold = 0
    for seed in range(100):
        schedule = drawn(law, stages, seed)
        rows = known_rows(schedule.times_ns, service)
        steady = warm_up(rows)
        cold += steady is None or rows[steady - 1].intended_ns > schedule.phases[1].start_ns
    assert cold <= 5  # of 35 requests about 8, and 40 with bursts
