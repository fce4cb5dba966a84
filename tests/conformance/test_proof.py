"""Every check passes on the oracle and sees a defect; every saboteur is seen."""

from collections import Counter

import pytest

from bellhousing_conformance.check import catalogue
from bellhousing_conformance.proof.matrix import CLEAN, Cell, KillMatrix
from bellhousing_conformance.proof.prove import prove, run_clean, wanted
from bellhousing_conformance.saboteurs.saboteur import saboteurs
from bellhousing_conformance.verdict import Status

PASS, FAIL = Cell(status=Status.PASS), Cell(status=Status.FAIL)


def matrix(clean: Cell, sabotaged: Cell) -> KillMatrix:
    cells = {CLEAN: {"C1": clean}, "s": {"C1": sabotaged}}
    return KillMatrix(checks=("C1",), defects={"s": "d"}, declared={"s": ("C1",)}, cells=cells, seed=1, seconds=0)


def test_a_matrix_in_which_everything_kills_has_no_fault() -> None:
    assert matrix(PASS, FAIL).faults() == []


def test_a_check_that_fails_on_the_clean_oracle_is_a_fault() -> None:
    assert any("expected PASS on the clean oracle" in fault for fault in matrix(FAIL, FAIL).faults())


def test_a_check_that_kills_nothing_and_a_saboteur_that_survives_are_faults() -> None:
    faults = matrix(PASS, PASS).faults()
    assert "check C1 kills no saboteur" in faults
    assert "saboteur s survives every check" in faults


def test_trouble_is_no_kill() -> None:
    assert matrix(PASS, Cell(status=Status.ERROR)).faults()


def test_saboteurs_declare_checks_that_exist() -> None:
    ids = {check.id for check in catalogue()}
    assert all(kind.seen_by and set(kind.seen_by) <= ids for kind in saboteurs().values())


def test_as_many_seeds_as_the_share_have_every_pair_once() -> None:
    checks = [check for check in catalogue() if not check.hooks]
    for name, kind in saboteurs().items():
        met = Counter(check.id for seed in range(5) for check in wanted(name, kind, checks, seed, 5))
        assert met == {check.id: 5 if check.id in kind.seen_by else 1 for check in checks}


def test_a_check_that_needs_a_hook_meets_only_who_declares_it() -> None:
    checks = [check for check in catalogue() if check.hooks]
    for name, kind in saboteurs().items():
        assert {check.id for check in wanted(name, kind, checks, 1, 1)} <= set(kind.seen_by)


@pytest.mark.quiet
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_check_is_proven() -> None:
    proven = await prove(catalogue(), saboteurs(), 1, every=0, told=lambda name, row: None)
    assert proven.faults() == []


@pytest.mark.quiet
@pytest.mark.slow
async def test_clean_runs_of_several_seeds_are_told_apart() -> None:
    checks = [check for check in catalogue() if check.id in ("C04", "X02")]
    heard: list[int] = []
    rows = await run_clean(checks, [5, 6], told=lambda seed, row: heard.append(seed))
    assert [{check: cell.status for check, cell in row.items()} for row in rows] == [
        {"C04": Status.PASS, "X02": Status.PASS}
    ] * 2
    assert set(heard) == {5, 6}
