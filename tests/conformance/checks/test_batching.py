from bellhousing_conformance.checks.batching.n04_long_prefill import judge
from bellhousing_conformance.verdict import Row, Status


def beside(seconds: float) -> Row:
    return {"kind": "beside", "alone": 0.1, "seconds": seconds, "long_seconds": 2.0}


def test_n04_a_short_request_may_be_slower_beside_a_long_one() -> None:
    judgement = judge([beside(0.5)] * 4, 0.0)
    assert judgement.status is Status.PASS
    assert judgement.figure("TTFT beside a long prefill over alone") == 5


def test_n04_requests_that_mostly_wait_for_the_long_one_fail() -> None:
    assert judge([beside(2.1), beside(2.1), beside(0.5), beside(0.5)], 0.0).status is Status.PASS
    assert judge([beside(2.1), beside(2.1), beside(2.1), beside(0.5)], 0.0).status is Status.FAIL


def test_n04_no_request_decides_nothing() -> None:
    assert judge([], 0.0).status is Status.INCONCLUSIVE
