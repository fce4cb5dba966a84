"""The history of a queue whose service times are known."""

from dataclasses import replace
from pathlib import Path

import pytest

from bellhousing_conformance.load.validation import (
    GOODPUT,
    LAWS,
    TOLERANCES,
    Service,
    compared,
    decided,
    known_rows,
    validate,
)
from bellhousing_conformance.load.validation import SERVICE as STANDARD
from tests.conformance.load.rows import FLOOR, perfect, shifted

MS = 1_000_000
NS = 1000 * MS
METHOD = Path(__file__).parents[3] / "docs/conformance/method.md"
SERVICE = Service(first_token=0.1, inter_token=0.05, tokens=3, places=2)


def test_a_request_holds_its_place_until_its_last_token() -> None:
    assert SERVICE.seconds == pytest.approx(0.2)


def test_who_comes_first_is_served_first_as_soon_as_a_place_is_free() -> None:
    rows = known_rows([0, 10 * MS, 20 * MS, 30 * MS, 1000 * MS], SERVICE)
    assert [row.queue_ns for row in rows] == [0, 0, 180 * MS, 180 * MS, 0]
    assert [row.first_ns for row in rows] == [100 * MS, 110 * MS, 300 * MS, 310 * MS, 1100 * MS]
    assert [row.end_ns for row in rows] == [200 * MS, 210 * MS, 400 * MS, 410 * MS, 1200 * MS]
    assert [row.faults() for row in rows] == [[]] * 5


def test_bursts_wait_longer_than_poisson_arrivals_of_the_same_rate() -> None:
    waits = {law: sum(row.queue_ns or 0 for row in perfect(law).rows) for law in LAWS}
    assert waits["bursty"] > 2 * waits["Poisson"] > 0


@pytest.mark.parametrize("law", LAWS)
def test_a_perfect_run_comes_back_right_and_valid(law: str) -> None:
    run = perfect(law)
    found = decided(law, run.rows, run.info, FLOOR)
    assert found.is_valid
    assert {figure.name for figure in found.figures} == set(TOLERANCES)
    assert all(figure.is_right for figure in found.figures)


def test_a_clock_that_is_late_is_seen_in_the_figures() -> None:
    run = perfect()
    late = [shifted(row, 40 * MS) for row in run.rows]
    wrong = {figure.name for figure in compared(late, run.rows, run.window) if not figure.is_right}
    assert {"TTFT p50, s", "TTFT mean, s"} <= wrong


def test_tokens_that_were_lost_are_seen_in_the_throughput() -> None:
    run = perfect()
    lost = [replace(row, gaps=row.gaps[:-1]) for row in run.rows]
    wrong = {figure.name for figure in compared(lost, run.rows, run.window) if not figure.is_right}
    assert wrong == {"throughput, tokens/s"}


@pytest.mark.parametrize("seconds", [35, 60])
@pytest.mark.parametrize("law", LAWS)
def test_a_server_slower_by_a_few_ms_is_no_wrong_goodput(law: str, seconds: int) -> None:
    slower = replace(STANDARD, first_token=STANDARD.first_token + 0.006)
    for seed in range(1, 21):
        right = perfect(law, seconds, seed).rows
        found = compared(known_rows([row.intended_ns for row in right], slower), right, (10 * NS, seconds * NS))
        assert {figure.name: figure.is_right for figure in found}[GOODPUT], seed


@pytest.mark.slow
@pytest.mark.quiet
async def test_figures_of_a_real_run_come_back_within_their_stated_errors(tmp_path: Path) -> None:
    found = await validate("bursty", 35, 1, tmp_path)
    assert {figure.name for figure in found.figures} == set(TOLERANCES)
    # Gates whose machine was busy make the figures mean nothing: then there is nothing to look at.
    assert [figure for figure in found.figures if found.is_valid and not figure.is_right] == []


def test_the_method_states_the_errors() -> None:
    method = METHOD.read_text(encoding="utf-8")
    for name, error in TOLERANCES.items():
        assert f"| {name} | {error.absolute:g} | {error.share:.0%} |" in method


def test_failures_are_seen_in_the_goodput() -> None:
    run = perfect()
    failed = [replace(row, code="INTERNAL") if row.index % 5 == 0 else row for row in run.rows]
    wrong = {figure.name for figure in compared(failed, run.rows, run.window) if not figure.is_right}
    assert "goodput, requests/s" in wrong
