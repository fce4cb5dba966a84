from bellhousing_conformance.checks.unicode.u03_cut_character import judge
from bellhousing_conformance.verdict import Row, Status


def cut(*, is_inside: bool, is_flagged: bool) -> list[Row]:
    flag = {"kind": "equal", "what": "cut_character", "found": is_flagged, "expected": is_inside}
    return [{"kind": "cut", "is_inside": is_inside}, flag]


def test_u03_flagged_cuts_pass() -> None:
    assert judge([*cut(is_inside=True, is_flagged=True), *cut(is_inside=False, is_flagged=False)], 0.0).status is (
        Status.PASS
    )


def test_u03_a_cut_that_is_not_flagged_fails() -> None:
    assert judge(cut(is_inside=True, is_flagged=False), 0.0).status is Status.FAIL


def test_u03_without_a_cut_inside_a_character_nothing_was_seen() -> None:
    assert judge(cut(is_inside=False, is_flagged=False), 0.0).status is Status.INCONCLUSIVE
