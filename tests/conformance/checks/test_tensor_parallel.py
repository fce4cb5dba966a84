import math

from bellhousing_conformance.checks.tensor_parallel import t01_same_distribution as t01
from bellhousing_conformance.checks.tensor_parallel import t02_greedy as t02
from bellhousing_conformance.verdict import Row, Status


def distributions(shift: float, count: int = 6) -> list[Row]:
    reference = {"1": math.log(0.5), "2": math.log(0.5)}
    found = {"1": math.log(0.5 + shift), "2": math.log(0.5 - shift)}
    return [{"kind": "distributions", "reference": reference, "found": found, "precision": "bfloat16"}] * count


def test_t01_distributions_within_the_tier_pass_and_others_fail() -> None:
    assert t01.judge(distributions(0.001), 0.0).status is Status.PASS
    assert t01.judge(distributions(0.1), 0.0).status is Status.FAIL


def test_t01_few_distributions_decide_nothing() -> None:
    assert t01.judge(distributions(0.0, count=2), 0.0).status is Status.INCONCLUSIVE


def test_t01_a_precision_without_a_tier_decides_nothing() -> None:
    rows = [{**row, "precision": "unheard-of"} for row in distributions(0.0)]
    assert t01.judge(rows, 0.0).status is Status.INCONCLUSIVE


def token(below: float) -> Row:
    return {"kind": "token", "place": 0, "best": -0.5, "logprob": -0.5 - below, "allowed": 0.02}


def test_t02_the_best_token_and_a_near_tie_pass() -> None:
    judgement = t02.judge([token(0.0), token(0.01)], 0.0)
    assert judgement.status is Status.PASS
    assert judgement.figure("near ties") == 1


def test_t02_one_token_beyond_a_near_tie_fails() -> None:
    assert t02.judge([token(0.0), token(0.3)], 0.0).status is Status.FAIL


def test_t02_no_token_decides_nothing() -> None:
    assert t02.judge([], 0.0).status is Status.INCONCLUSIVE
