"""LP4 judges what is told, not the order in which it is told."""

from bellhousing_conformance.checks.logprobs import lp4_best_token as lp4
from bellhousing_conformance.verdict import Row, Status


def places(told: dict[str, float]) -> list[Row]:
    """Places at which the reference's best token is 7, and 8 is far behind."""
    reference = {"7": -0.5, "8": -2.0}
    place = {"kind": "place", "told": told, "reference": reference, "best": 7, "best_logprob": -0.5}
    return [{"kind": "precision", "precision": "bfloat16"}, *[place] * 64]


def test_lp4_tokens_that_the_target_tells_as_equal_are_its_best_ones_in_any_order() -> None:
    for told in ({"8": -0.75, "7": -0.75}, {"7": -0.75, "8": -0.75}):
        judgement = lp4.judge(places(told), 0.01)
        assert judgement.status is Status.PASS
        assert judgement.figure("share with the same best token") == 1


def test_lp4_another_best_token_fails() -> None:
    assert lp4.judge(places({"7": -0.75, "8": -0.74}), 0.01).status is Status.FAIL
