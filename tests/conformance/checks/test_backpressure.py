from collections.abc import Sequence

from bellhousing_conformance.checks.backpressure import b02_order as b02
from bellhousing_conformance.checks.backpressure import b03_slow_reader as b03
from bellhousing_conformance.checks.backpressure import b04_recovery as b04
from bellhousing_conformance.verdict import Row, Status

NOISE: Row = {"kind": "tick", "seconds": 0.2}


def served(order: Sequence[int]) -> list[Row]:
    return [{"kind": "served", "arrival": arrival, "started": start} for arrival, start in enumerate(order)]


def test_b02_the_order_of_arrival_passes() -> None:
    assert b02.judge(served(range(10)), 0.0).status is Status.PASS


def test_b02_one_exchange_of_neighbours_passes_and_another_order_fails() -> None:
    assert b02.judge(served([1, 0, 2, 3, 4, 5, 6, 7, 8, 9]), 0.0).status is Status.PASS
    assert b02.judge(served([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), 0.0).status is Status.FAIL


def test_b02_too_few_requests_decide_nothing() -> None:
    assert b02.judge(served([0, 1]), 0.0).status is Status.INCONCLUSIVE


def ratios(ratio: float, count: int = 8) -> list[Row]:
    return [{"kind": "ratio", "read": 0.01, "paused": 0.01 * (ratio + 0.01 * (n % 3))} for n in range(count)]


def test_b03_a_neighbour_as_fast_as_before_passes_and_a_slower_one_fails() -> None:
    assert b03.judge(ratios(1.0), 0.0).status is Status.PASS
    assert b03.judge(ratios(1.5), 0.0).status is Status.FAIL


def test_b03_a_buffer_that_grows_fails_though_the_neighbour_is_fast() -> None:
    grown = {"kind": "growth", "read": 2**20, "paused": 2**25}
    assert b03.judge([*ratios(1.0), grown], 0.0).status is Status.FAIL


def test_b03_a_cache_that_grows_by_every_stream_is_no_buffer_of_the_reader() -> None:
    grown = {"kind": "growth", "read": 2**25, "paused": 2**25}
    assert b03.judge([*ratios(1.0), grown], 0.0).status is Status.PASS


def test_b03_few_pairs_and_a_noisy_machine_decide_nothing() -> None:
    assert b03.judge(ratios(1.5, count=2), 0.0).status is Status.INCONCLUSIVE
    assert b03.judge([*ratios(1.5), NOISE], 0.0).status is Status.INCONCLUSIVE


def recovery(after: float) -> list[Row]:
    return [{"kind": kind, "seconds": s} for kind, s in (("before", 0.1), ("after", after)) for _ in range(6)]


def test_b04_a_ttft_that_is_back_passes_and_one_that_stays_fails() -> None:
    assert b04.judge(recovery(0.11), 0.0).status is Status.PASS
    assert b04.judge(recovery(0.5), 0.0).status is Status.FAIL


def test_b04_only_the_last_requests_count() -> None:
    late = [{"kind": "after", "seconds": 9.0}] * 6
    assert b04.judge([*recovery(9.0)[:6], *late, *recovery(0.1)[6:]], 0.0).status is Status.PASS


def test_b04_no_overload_and_a_noisy_machine_decide_nothing() -> None:
    assert b04.judge([], 0.0).status is Status.INCONCLUSIVE
    assert b04.judge([*recovery(0.5), NOISE], 0.0).status is Status.INCONCLUSIVE
