from bellhousing_conformance.checks.determinism import d02_seeds_differ as d02
from bellhousing_conformance.checks.determinism import d03_cold_is_cached as d03
from bellhousing_conformance.checks.determinism import d05_neighbours as d05
from bellhousing_conformance.verdict import Row, Status


def seeded(same: int, count: int = 40) -> list[Row]:
    texts = [["a", "a"]] * same + [["a", "b"]] * (count - same)
    return [{"kind": "pair", "seeds": "neighbours", "texts": pair} for pair in texts]


def test_d02_seeds_that_nearly_all_differ_pass() -> None:
    assert d02.judge(seeded(2), 0.0).status is Status.PASS


def test_d02_seeds_that_agree_too_often_fail_and_are_named() -> None:
    judgement = d02.judge(seeded(3), 0.0)
    assert judgement.status is Status.FAIL
    assert "3 neighbours" in judgement.problems[0]


def test_d02_no_pair_decides_nothing() -> None:
    assert d02.judge([], 0.0).status is Status.INCONCLUSIVE


def cached(right: list[int], gap: float = 1.0) -> Row:
    told = {"what": "a prompt", "gaps": [1.0, gap, 1.0], "tolerance": 0.02, "cached_tokens": 16}
    return {"kind": "pair", "ids": [[1, 2, 3], right], **told}


def test_d03_equal_outputs_pass() -> None:
    assert d03.judge([cached([1, 2, 3])], 0.0).status is Status.PASS


def test_d03_outputs_that_part_at_a_near_tie_diverge() -> None:
    assert d03.judge([cached([1, 2, 3]), cached([1, 9, 3], gap=0.01)], 0.0).status is Status.DIVERGENCE


def test_d03_outputs_that_part_elsewhere_or_end_early_fail() -> None:
    assert d03.judge([cached([1, 9, 3])], 0.0).status is Status.FAIL
    assert d03.judge([cached([1, 2])], 0.0).status is Status.FAIL


def test_d03_no_pair_decides_nothing() -> None:
    assert d03.judge([], 0.0).status is Status.INCONCLUSIVE


def beside(equal: int, *, is_promised: bool) -> list[Row]:
    rows = [{"kind": "pair", "is_promised": is_promised, "alone": "a", "beside": "a"}] * equal
    return [*rows, *[{"kind": "pair", "is_promised": is_promised, "alone": "a", "beside": "b"}] * (10 - equal)]


def test_d05_one_changed_output_fails_where_batch_invariance_is_promised() -> None:
    assert d05.judge(beside(10, is_promised=True), 0.0).status is Status.PASS
    assert d05.judge(beside(9, is_promised=True), 0.0).status is Status.FAIL


def test_d05_elsewhere_only_a_shared_generator_diverges() -> None:
    assert d05.judge(beside(9, is_promised=False), 0.0).status is Status.PASS
    assert d05.judge(beside(2, is_promised=False), 0.0).status is Status.DIVERGENCE
