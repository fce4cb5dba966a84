from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance import agreement
from bellhousing_conformance.agreement import judge
from bellhousing_conformance.calls import Run
from bellhousing_conformance.verdict import Row, Status


def pair(left: list[int], right: list[int], gap: float | None = None, allowed: float = 0.02) -> Row:
    best = None if gap is None else [[-0.5, -0.5 - gap]] * 2
    return {"kind": "pair", "what": "w", "left": left, "right": right, "best": best, "allowed": allowed}


def test_equal_outputs_pass() -> None:
    assert judge([pair([1, 2], [1, 2])]).status is Status.PASS


def test_outputs_may_part_at_a_near_tie() -> None:
    judgement = judge([pair([1, 2], [1, 3], gap=0.01)])
    assert judgement.status is Status.PASS
    assert judgement.figure("pairs that part at a near tie") == 1


def test_outputs_that_part_elsewhere_fail() -> None:
    assert judge([pair([1, 2], [1, 2]), pair([1, 2], [1, 3], gap=0.5)]).status is Status.FAIL


def test_outputs_that_part_where_no_log_probability_is_told_fail() -> None:
    assert judge([pair([1, 2], [1, 3])]).status is Status.FAIL


def test_without_ids_a_place_is_that_of_the_token_and_not_of_a_character() -> None:
    def run(*tokens: bytes, gap: float) -> Run:
        run = Run(pb.GenerateRequest(), 0)
        for number, token in enumerate(tokens):
            best = -0.5 - (gap if number == len(tokens) - 1 else 9)
            told = pb.TokenLogprob(token=token, top=[pb.TopLogprob(logprob=-0.5), pb.TopLogprob(logprob=best)])
            run.messages.append(pb.GenerateResponse(delta=pb.Delta(text=token.decode(), logprobs=[told])))
        return run

    def status(gap: float) -> Status:
        left, right = run(b"Once", b" upon", b" a", gap=gap), run(b"Once", b" upon", b" the", gap=gap)
        return judge([{"kind": "pair", **agreement.pair("w", left, right, 0.02)}]).status

    assert status(0.01) is Status.PASS
    assert status(0.5) is Status.FAIL


def test_who_claims_batch_invariance_has_no_near_tie() -> None:
    assert judge([pair([1, 2], [1, 3], gap=0.0, allowed=0.0)]).status is Status.FAIL


def test_no_pair_decides_nothing() -> None:
    assert judge([]).status is Status.INCONCLUSIVE
