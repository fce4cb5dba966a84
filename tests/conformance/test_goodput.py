"""The search for goodput, on targets whose capacity is known."""

from dataclasses import replace

import pytest

from bellhousing_conformance.goodput import (
    TRIES,
    Limits,
    Outcome,
    Try,
    bracket,
    decided,
    following,
    is_undecided,
    search,
    seconds_of,
)
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.loads import Load
from bellhousing_conformance.slo import Objective, Slo
from tests.conformance.load.rows import perfect

SLO = Slo(objective=(Objective(metric="ttft", percentile=50, limit=1),), attainment=0.9)


def tried(rate: float, outcome: Outcome) -> Try:
    return Try(rate=rate, outcome=outcome, share=1.0, low=0.95, high=1.0)


def load(run: Run | None = None) -> Load:
    return Load("load 0", run or perfect(), is_gated=True)


def rates(capacity: float, limits: Limits) -> list[Try]:
    """Return the tries of a search on a target that keeps its objectives up to a rate."""
    tries: list[Try] = []
    while (rate := following(tries, limits)) is not None:
        tries.append(tried(rate, "holds" if rate <= capacity else "misses"))
    return tries


@pytest.mark.parametrize("capacity", [0.7, 3.0, 10.0, 45.0])
@pytest.mark.parametrize("start", [1.0, 10.0])
def test_the_search_encloses_the_capacity_as_nearly_as_asked(capacity: float, start: float) -> None:
    around = bracket(rates(capacity, Limits(start=start, resolution=0.1, most_loads=40)))
    assert around.held
    assert around.missed
    assert around.held.rate <= capacity < around.missed.rate <= around.held.rate * 1.1


def test_the_search_ends_after_so_many_loads() -> None:
    assert len(rates(1e9, Limits(start=1, most_loads=5))) == 5


def test_an_undecided_step_is_sent_anew_a_bounded_number_of_times_and_then_ends_the_search() -> None:
    limits, tries = Limits(start=4.0), [tried(4.0, "holds"), tried(6.4, "undecided")]
    assert following(tries, limits) == 6.4
    stuck = [*tries, *[tried(6.4, "undecided")] * (TRIES - 1)]
    assert following(stuck, limits) is None
    assert is_undecided(stuck)


def test_goodput_is_at_least_what_was_certified_and_below_what_missed() -> None:
    figure = bracket([tried(4.0, "holds"), tried(8.0, "misses")]).figure
    assert (figure.value, figure.high) == (4.0, 8.0)
    assert figure.low == pytest.approx(3.8)


def test_a_valid_load_within_the_objectives_holds() -> None:
    assert decided(load(), 5.0, SLO).outcome == "holds"


def test_a_load_beyond_the_objectives_misses_even_when_it_is_not_steady() -> None:
    run = perfect()
    slow = [replace(row, code="DEADLINE_EXCEEDED") for row in run.rows]
    assert decided(load(Run(slow, run.info, run.floor)), 5.0, SLO).outcome == "misses"


def test_an_invalid_load_decides_nothing_whatever_it_shows() -> None:
    run = perfect()
    found = decided(load(Run(run.rows[:-1], run.info, run.floor)), 5.0, SLO)
    assert found.outcome == "undecided"
    assert any("request ledger" in reason for reason in found.reasons)


def test_a_load_is_long_enough_for_its_interval_to_decide() -> None:
    assert seconds_of(1000.0, SLO, 5.0) == 5.0
    assert 60 < seconds_of(1.0, SLO, 5.0) < 100


async def test_whoever_is_told_hears_of_every_load() -> None:
    heard: list[int] = []

    async def send(rate: float, number: int) -> Load:
        return load()

    tries = await search(send, SLO, Limits(start=1, most_loads=3), lambda tries: heard.append(len(tries)))
    assert heard == [1, 2, 3]
    assert [each.outcome for each in tries] == ["holds"] * 3
