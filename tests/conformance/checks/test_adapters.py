from bellhousing_conformance.checks.adapters.a07_cycles import judge
from bellhousing_conformance.verdict import Row, Status

MEGABYTE = 2**20
ALPHA = 0.01
LEFT: Row = {"kind": "equal", "what": "adapters that stay", "found": ["a"], "expected": []}
NONE_LEFT: Row = {**LEFT, "found": []}


def cycles(growth: int, count: int = 12) -> list[Row]:
    """Cycles of an adapter of 10 MB; the memory swings by 1 MB."""
    noise = (0, MEGABYTE, MEGABYTE // 2)
    rss = [100 * MEGABYTE + growth * n + noise[n % 3] for n in range(count)]
    return [{"kind": "cycle", "rss": value, "size": 10 * MEGABYTE} for value in rss]


def test_a07_memory_that_only_swings_passes() -> None:
    assert judge([*cycles(0), NONE_LEFT], ALPHA).status is Status.PASS


def test_a07_memory_that_grows_with_each_cycle_fails() -> None:
    assert judge([*cycles(MEGABYTE), NONE_LEFT], ALPHA).status is Status.FAIL


def test_a07_an_adapter_that_stays_fails() -> None:
    assert judge([*cycles(0), LEFT], ALPHA).status is Status.FAIL


def test_a07_without_memory_told_the_lists_decide() -> None:
    unknown = [{"kind": "cycle", "rss": 0, "size": 1}] * 12
    assert judge([*unknown, NONE_LEFT], ALPHA).status is Status.PASS
    assert judge(unknown, ALPHA).status is Status.INCONCLUSIVE


def test_a07_a_few_cycles_that_seem_to_grow_by_chance_pass() -> None:
    # Of an engine whose collector of garbage lets 50 cycles end where they began, in KiB.
    swinging = [160680, 158416, 159404, 151648, 153528, 159784, 153604, 159132, 158596, 157132, 161024, 159476]
    rows: list[Row] = [{"kind": "cycle", "rss": kib * 1024, "size": MEGABYTE} for kib in swinging]
    assert judge([*rows, NONE_LEFT], ALPHA).status is Status.PASS
