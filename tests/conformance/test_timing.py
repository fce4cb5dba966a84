import pytest

from bellhousing_conformance.timing import lateness, quantile, quantile_at_most
from bellhousing_conformance.verdict import Row, Status

judge = quantile_at_most("answer", 0.9, 0.25)


def answers(*seconds: float) -> list[Row]:
    return [{"kind": "answer", "seconds": value} for value in seconds]


def ticks(seconds: float) -> list[Row]:
    return [{"kind": "tick", "seconds": seconds}] * 10


def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed() -> None:
    assert quantile([4, 1, 3, 2], 0.5) == 2
    assert quantile(range(1, 11), 0.9) == 9
    assert quantile([7], 0.9) == 7


def test_no_value_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="found none"):
        quantile([], 0.5)


def test_lateness_is_that_of_the_ticks_alone() -> None:
    assert lateness([*answers(9.0), *ticks(0.01)]) == 0.01
    assert lateness(answers(9.0)) == 0


def test_a_tail_within_the_share_passes() -> None:
    assert judge(answers(*[0.1] * 9, 5.0), 0.0).status is Status.PASS


def test_a_quantile_above_the_bound_fails() -> None:
    assert judge([*answers(*[0.1] * 8, 5.0, 5.0), *ticks(0.01)], 0.0).status is Status.FAIL


def test_a_machine_that_is_late_itself_blames_nobody() -> None:
    assert judge([*answers(*[5.0] * 10), *ticks(0.1)], 0.0).status is Status.INCONCLUSIVE


def test_nothing_timed_decides_nothing() -> None:
    assert judge(ticks(0.01), 0.0).status is Status.INCONCLUSIVE


def test_a_row_that_does_not_hold_fails_whatever_the_times() -> None:
    rows = [*answers(0.1), {"kind": "equal", "what": "code", "found": "OK", "expected": "DEADLINE_EXCEEDED"}]
    assert judge(rows, 0.0).status is Status.FAIL
