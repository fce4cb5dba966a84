"""Penalties, temperature and filters, against cases computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhousing.requests import Sampling
from bellhousing_simulator import filters
from bellhousing_simulator.chain import Chain
from bellhousing_simulator.filters import NEVER, Vector
from bellhousing_simulator.vocabulary import EOS, VOCABULARY_SIZE

DESCENDING: Vector = (0.5, 0.25, 0.15, 0.1)


def logs(*values: float) -> Vector:
    return tuple(math.log(value) for value in values)


def test_softmax_divides_the_logits_by_the_temperature() -> None:
    assert filters.softmax(logs(4, 1)) == pytest.approx((0.8, 0.2))
    assert filters.softmax(logs(4, 1), 0.5) == pytest.approx((16 / 17, 1 / 17))
    assert filters.softmax(logs(4, 1), 2.0) == pytest.approx((2 / 3, 1 / 3))


def test_temperature_zero_takes_the_most_probable_token_and_the_lowest_id_of_equals() -> None:
    assert filters.softmax((1.0, 3.0, 3.0), 0.0) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-9])
def test_a_temperature_near_zero_is_greedy(temperature: float) -> None:
    assert filters.softmax((1.0, 3.0, 2.0), temperature) == (0.0, 1.0, 0.0)


def test_the_repetition_penalty_divides_positive_and_multiplies_negative_logits_of_prompt_and_output() -> None:
    sampling = Sampling(repetition_penalty=2.0)
    found = filters.penalise((3.0, -1.0, 2.0, -2.0), sampling, prompt=[0], output=[1])
    assert found == (1.5, -2.0, 2.0, -2.0)


def test_presence_and_frequency_penalties_count_the_output_only() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    found = filters.penalise((0.0, 0.0, 0.0), sampling, prompt=[0, 0], output=[1, 1, 2])
    assert found == (0.0, -1.0, -0.75)


def test_the_repetition_penalty_comes_before_the_others() -> None:
    sampling = Sampling(repetition_penalty=2.0, presence_penalty=1.0)
    assert filters.penalise((4.0,), sampling, prompt=(), output=[0]) == (1.0,)


def test_the_smallest_repetition_penalty_leaves_a_distribution() -> None:
    found = filters.distribution((1.0, 0.0, -1.0), Sampling(repetition_penalty=5e-324), prompt=[0, 1, 2])
    assert found == (1.0, 0.0, 0.0)


def test_logit_bias_is_added_after_the_penalties() -> None:
    sampling = Sampling(repetition_penalty=2.0, logit_bias={0: math.log(3)})
    assert filters.distribution((0.0, 0.0), sampling, prompt=[0, 1]) == pytest.approx((0.75, 0.25))


def test_the_end_token_is_masked_until_min_tokens_and_for_ever_by_ignore_eos() -> None:
    chain = Chain(end_probability=0.5)
    least = Sampling(min_tokens=2)
    found = [chain.probabilities(0, least, output=[0] * count)[EOS] for count in range(3)]
    assert found == pytest.approx([0.0, 0.0, 0.5])
    assert chain.probabilities(0, Sampling(ignore_eos=True), output=[0] * 9)[EOS] == 0.0


def test_masked_tokens_have_no_probability_and_the_rest_keep_their_proportions() -> None:
    found = filters.distribution(logs(4, 2, 1, 3), Sampling(), allowed={0, 2})
    assert found == pytest.approx((0.8, 0.0, 0.2, 0.0))


def test_top_k_keeps_exactly_that_many_and_the_lower_id_of_equals() -> None:
    assert filters.keep_top_k(DESCENDING, 2) == pytest.approx((2 / 3, 1 / 3, 0, 0))
    assert filters.keep_top_k((0.25, 0.25, 0.25, 0.25), 1) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("count", [0, 4, 5])
def test_top_k_of_zero_or_of_all_tokens_is_off(count: int) -> None:
    assert filters.keep_top_k(DESCENDING, count) == DESCENDING


@pytest.mark.parametrize(("mass", "kept"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.95, 4)])
def test_top_p_keeps_the_fewest_tokens_that_reach_the_mass(mass: float, kept: int) -> None:
    total = sum(DESCENDING[:kept])
    expected = [p / total if place < kept else 0.0 for place, p in enumerate(DESCENDING)]
    assert filters.keep_top_p(DESCENDING, mass) == pytest.approx(expected)


def test_top_p_is_not_fooled_by_rounding() -> None:
    assert sum(p > 0 for p in filters.keep_top_p((0.1,) * 10, 0.3)) == 3


@pytest.mark.parametrize(("mass", "kept"), [(0.3, {1}), (0.31, {0, 1}), (0.9, {0, 1}), (0.91, {0, 1, 2})])
def test_typical_p_keeps_the_tokens_nearest_to_the_entropy(mass: float, kept: set[int]) -> None:
    # Entropy 0.898; the surprises 0.511, 1.204 and 2.303 are 0.387, 0.306 and 1.405 away from it.
    found = filters.keep_typical((0.6, 0.3, 0.1), mass)
    assert {token for token, p in enumerate(found) if p > 0} == kept
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 4), (0.2, 4), (0.21, 3), (0.5, 2), (0.51, 1), (1.0, 1)])
def test_min_p_is_relative_to_the_most_probable_token(share: float, kept: int) -> None:
    assert sum(p > 0 for p in filters.keep_min_p(DESCENDING, share)) == kept


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        # top_k leaves 2/3 and 1/3, of which the first alone reaches 0.6; before top_k it would not.
        (Sampling(top_k=2, top_p=0.6), (1, 0, 0, 0)),
        # The temperature makes 0.735, 0.184, 0.066, 0.015 of them first.
        (Sampling(temperature=0.5, top_p=0.7), (1, 0, 0, 0)),
        # typical_p keeps the tokens 1 and 0 (nearest to the entropy), so top_p sees 2/3 and 1/3.
        (Sampling(typical_p=0.7, top_p=0.6), (1, 0, 0, 0)),
        (Sampling(top_p=0.9, min_p=0.4), (2 / 3, 1 / 3, 0, 0)),
    ],
)
def test_each_filter_sees_the_renormalised_result_of_the_one_before(sampling: Sampling, expected: Vector) -> None:
    assert filters.distribution(logs(*DESCENDING), sampling) == pytest.approx(expected)


@given(
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 100),
        top_p=st.none() | st.floats(0, 1, exclude_min=True),
        top_k=st.none() | st.integers(0, 400),
        min_p=st.none() | st.floats(0, 1),
        typical_p=st.none() | st.floats(0, 1, exclude_min=True),
        repetition_penalty=st.none() | st.floats(0, 100, exclude_min=True),
        presence_penalty=st.none() | st.floats(-2, 2),
        frequency_penalty=st.none() | st.floats(-2, 2),
        logit_bias=st.none() | st.dictionaries(st.integers(0, VOCABULARY_SIZE - 1), st.floats(-100, 100), max_size=5),
        ignore_eos=st.none() | st.booleans(),
    ),
    output=st.lists(st.integers(0, VOCABULARY_SIZE - 1), max_size=5),
)
def test_any_allowed_parameters_give_a_distribution(sampling: Sampling, output: list[int]) -> None:
    found = Chain().probabilities(0, sampling, prompt=[0], output=output)
    assert len(found) == VOCABULARY_SIZE
    assert min(found) >= 0
    assert math.fsum(found) == pytest.approx(1)


def test_nothing_set_leaves_the_softmax_untouched() -> None:
    logits = (0.5, -1.0, NEVER, 2.0)
    assert filters.distribution(logits, Sampling()) == filters.softmax(logits)
