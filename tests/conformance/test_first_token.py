import math

import pytest

from bellhousing_conformance.first_token import MOST_NATS, conditional_kl

HALVES = {"1": math.log(0.5), "2": math.log(0.5)}


def test_a_distribution_is_no_distance_from_itself() -> None:
    assert conditional_kl(HALVES, HALVES) == pytest.approx(0)


def test_only_what_both_tell_counts() -> None:
    quarters = {"1": math.log(0.25), "2": math.log(0.25), "3": math.log(0.5)}
    assert conditional_kl(HALVES, quarters) == pytest.approx(0)


def test_the_divergence_is_in_nats() -> None:
    other = {"1": math.log(0.8), "2": math.log(0.2)}
    expected = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert conditional_kl(HALVES, other) == pytest.approx(expected)


def test_nothing_in_common_is_as_far_as_it_gets() -> None:
    assert conditional_kl({"1": 0.0}, {"2": 0.0}) == MOST_NATS
