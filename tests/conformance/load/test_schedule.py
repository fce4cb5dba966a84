import math
from itertools import pairwise

import pytest
from scipy.stats import kstest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.arrivals import law_p
from bellhousing_conformance.load.record import Arrivals
from bellhousing_conformance.load.schedule import MOST_RATE, Stage, drawn, operational

POISSON = Arrivals("poisson", 50)
BURSTY = Arrivals("gamma", 50, cv=3)


def test_a_seed_decides_every_time() -> None:
    stages = [Stage("measured", 50, 20)]
    assert drawn(POISSON, stages, 1) == drawn(POISSON, stages, 1)
    assert drawn(POISSON, stages, 1).digest != drawn(POISSON, stages, 2).digest


def test_times_are_in_order_and_within_the_phases() -> None:
    times = drawn(BURSTY, [Stage("a", 50, 5), Stage("b", 5, 5)], 3).times_ns
    assert list(times) == sorted(times)
    assert times[0] > 0
    assert times[-1] < 10e9


@pytest.mark.parametrize(("arrivals", "shape"), [(POISSON, 1.0), (BURSTY, 1 / 9)])
def test_gaps_follow_the_law(arrivals: Arrivals, shape: float) -> None:
    times = [at / 1e9 for at in drawn(arrivals, [Stage("measured", 50, 100)], 4).times_ns]
    gaps = [(b - a) * 50 for a, b in pairwise(times)]
    p = law_p(gaps, shape, 1e-4)  # a burst has gaps below the nanosecond of the schedule's times
    assert p is not None
    assert p > 0.01


def test_the_count_is_drawn_and_never_made_to_fit() -> None:
    counts = {len(drawn(POISSON, [Stage("measured", 50, 10)], seed).times_ns) for seed in range(20)}
    assert len(counts) > 10


def test_a_ramp_has_the_rate_that_it_names_at_each_moment() -> None:
    schedule = drawn(Arrivals("poisson", 200), [Stage("ramp", 0, 20, end_rate=200)], 5)
    early = sum(at < 10e9 for at in schedule.times_ns)
    assert early == pytest.approx(500, abs=5 * math.sqrt(500))
    assert len(schedule.times_ns) - early == pytest.approx(1500, abs=5 * math.sqrt(1500))
    units = [operational(schedule.phases, at) for at in schedule.times_ns]
    assert kstest([b - a for a, b in pairwise(units)], "expon").pvalue > 0.01


def test_a_time_belongs_to_its_phase() -> None:
    schedule = drawn(POISSON, [Stage("warm-up", 50, 5, is_measured=False), Stage("measured", 50, 5)], 1)
    assert [schedule.phase_of(at) for at in (0, 5_000_000_000, 10_000_000_000)] == ["warm-up", "measured", "measured"]


@pytest.mark.parametrize(("stage", "words"), [
    (Stage("p", 0, 10), "expected a rate above 0, found 0"),
    (Stage("p", -1, 10), "found -1"),
    (Stage("p", math.inf, 10), "found inf"),
    (Stage("p", math.nan, 10), "found nan"),
    (Stage("p", MOST_RATE * 2, 10), "at most 10000"),
    (Stage("p", 1, 0), "expected a duration above 0 s"),
    (Stage("p", 1, math.inf), "expected a duration above 0 s"),
    (Stage("p", 5000, 1000), "at most 1,000,000 requests"),
    (Stage("p", 1e-9, 1), "expected at least one request"),
])  # fmt: skip
def test_a_rate_or_a_duration_that_cannot_be_is_refused(stage: Stage, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        drawn(POISSON, [stage], 1)


@pytest.mark.parametrize("cv", [0.0, -1.0, 100.0, math.nan])
def test_a_variation_that_cannot_be_is_refused(cv: float) -> None:
    with pytest.raises(ConfigurationError, match="coefficient of variation"):
        drawn(Arrivals("gamma", 5, cv=cv), [Stage("p", 5, 5)], 1)


def test_no_phase_is_no_schedule() -> None:
    with pytest.raises(ConfigurationError, match="at least one phase"):
        drawn(POISSON, [], 1)
