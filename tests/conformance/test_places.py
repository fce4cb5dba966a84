"""What is left after filters, and the judgement of draws among it."""

import math
from collections.abc import Sequence
from random import Random

import pytest

from bellhousing_conformance.places import Setting, Step, judge_setting, survivors
from bellhousing_conformance.verdict import Row, Status

MODEL = [math.log(p) for p in (0.4, 0.3, 0.15, 0.1, 0.05)]
TOP_3 = Setting("top_k=3", (("top_k", 3),))


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([("top_k", 2)], 2),
        ([("top_p", 0.65)], 2),
        ([("top_p", 0.75)], 3),
        ([("min_p", 0.3)], 3),
        # Among the first three, 0.4 and 0.3 have 0.82 of the mass; of the whole distribution they have 0.7.
        ([("top_k", 3), ("top_p", 0.75)], 2),
        ([("top_p", 0.75), ("top_k", 3)], 3),
        # At temperature 0.5 the squares of the probabilities count.
        ([("temperature", 0.5), ("min_p", 0.3)], 2),
        ([("min_p", 0.3), ("temperature", 0.5)], 3),
    ],
)
def test_steps_leave_what_their_order_says(steps: Sequence[Step], count: int) -> None:
    assert survivors(MODEL, steps) == count


def test_a_tie_at_the_edge_leaves_open_what_is_kept() -> None:
    assert survivors([math.log(0.25)] * 4, [("top_k", 2)]) is None
    assert survivors(MODEL, [("top_p", 0.7)]) is None
    equal = [math.log(p) for p in (0.4, 0.2, 0.2, 0.2)]  # as often in bfloat16
    assert survivors(equal, [("top_p", 0.5)]) is None
    assert survivors(equal, [("top_p", 0.9)]) == 4
    assert survivors(equal, [("top_k", 3), ("top_p", 0.9)]) is None


def test_tokens_that_are_not_listed_leave_open_what_is_kept() -> None:
    assert survivors(MODEL[:2], [("top_p", 0.8)]) is None
    assert survivors(MODEL[:2], [("min_p", 0.1)]) is None
    assert survivors(MODEL, [("temperature", 0.5)]) is None


def rows(weights: Sequence[float], count: int) -> list[Row]:
    random = Random(count)
    return [
        {
            "kind": "place",
            "setting": TOP_3.name,
            "logprobs": MODEL,
            "ends": [],
            "rank": random.choices(range(len(weights)), weights)[0],
            "number": random.random(),
        }
        for _ in range(count)
    ]


def test_draws_of_the_filtered_model_pass() -> None:
    assert judge_setting(rows([0.4, 0.3, 0.15], 2000), TOP_3, 0.01).status is Status.PASS


def test_one_draw_outside_what_is_kept_fails() -> None:
    outside = {**rows([1.0], 1)[0], "rank": 3}
    judgement = judge_setting([*rows([0.4, 0.3, 0.15], 2000), outside], TOP_3, 0.01)
    assert judgement.status is Status.FAIL
    assert "1 of 2001 outside, such as rank 4 where 3 are kept" in judgement.problems[0]


def test_other_odds_among_what_is_kept_fail() -> None:
    assert judge_setting(rows([0.4, 0.3, 0.0], 2000), TOP_3, 0.01).status is Status.FAIL


def test_too_few_draws_decide_nothing() -> None:
    assert judge_setting(rows([0.4, 0.3, 0.15], 20), TOP_3, 0.01).status is Status.INCONCLUSIVE
    assert judge_setting([], TOP_3, 0.01).status is Status.INCONCLUSIVE
