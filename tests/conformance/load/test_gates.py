"""Every gate is seen to be kept and to be missed."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import pytest

from bellhousing_conformance.load.arrivals import law_p
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import gates
from bellhousing_conformance.load.record import Arrivals, Sample, Sent
from bellhousing_conformance.load.schedule import digest_of
from bellhousing_conformance.load.validation import SERVICE, known_rows
from tests.conformance.load.rows import FLOOR, gate_of, perfect, samples_of, shifted

MS = 1_000_000
Spoil = Callable[[Run], Run]


def rowed(run: Run, rows: object) -> Run:
    return Run(list(rows), run.info, run.floor)  # type: ignore[call-overload]


def first_with(run: Run, **changes: object) -> Run:
    return rowed(run, [replace(run.rows[0], **changes), *run.rows[1:]])  # type: ignore[arg-type]


def gone(row: Sent) -> Sent:
    return replace(row, code="UNAVAILABLE")


def informed(run: Run, **changes: object) -> Run:
    return Run(run.rows, replace(run.info, **changes), run.floor)  # type: ignore[arg-type]


def timed(run: Run, times: list[int]) -> Run:
    """Return a run whose schedule has these times, kept to exactly."""
    rows = known_rows(times, SERVICE)
    info = replace(run.info, planned=len(rows), schedule_digest=digest_of(times), samples=tuple(samples_of(rows)))
    return Run(rows, info, run.floor)


def evenly(run: Run) -> Run:
    return timed(run, [at * 200 * MS for at in range(1, 300)])


def in_pairs(run: Run) -> Run:
    source = random.Random(1)
    gaps = [(400 * MS if place % 2 else 10 * MS) + source.randrange(MS) for place in range(300)]
    return timed(run, list(accumulate(gaps)))


def early_in_the_second(run: Run) -> Run:
    source = random.Random(2)
    return timed(run, sorted(second * 1000 * MS + source.randrange(300 * MS) for second in range(59) for _ in range(5)))


def sampled(run: Run, change: Callable[[int, Sample], Sample]) -> Run:
    return informed(run, samples=tuple(change(place, sample) for place, sample in enumerate(run.info.samples)))


def slowed(row: Sent, steps: int) -> Sent:
    """Return a row whose tokens came later by some ms."""
    assert row.first_ns is not None
    assert row.last_ns is not None
    later = steps * MS
    (gap, tokens), *others = row.gaps
    return replace(
        row,
        first_ns=row.first_ns + later,
        last_ns=row.last_ns + later,
        end_ns=row.end_ns + later,
        gaps=((gap + later, tokens), *others),
    )


SPOILT: list[tuple[str, Spoil]] = [
    ("request ledger", lambda run: rowed(run, run.rows[:-1])),
    ("request ledger", lambda run: rowed(run, [*run.rows, run.rows[0]])),
    ("schedule", lambda run: first_with(run, intended_ns=run.rows[0].intended_ns + 1)),
    ("token ledger", lambda run: first_with(run, usage_tokens=17)),
    ("token ledger", lambda run: first_with(run, usage_tokens=None)),
    ("reachable target", lambda run: rowed(run, [gone(r) if r.index > 290 else r for r in run.rows])),
    ("send delay p99", lambda run: rowed(run, [shifted(r, 20 * MS) if r.index % 20 == 0 else r for r in run.rows])),
    ("achieved rate", lambda run: rowed(run, [shifted(r, r.intended_ns // 20) for r in run.rows])),
    ("law of the gaps", evenly),
    ("dispersion", evenly),
    ("lag-1 of the gaps", in_pairs),
    ("phase in the second", early_in_the_second),
    ("loop lag p99", lambda run: sampled(run, lambda n, s: replace(s, lag_ns=6 * MS if n % 50 == 0 else 0))),
    ("loop lag p99", lambda run: informed(run, samples=())),
    ("client CPU", lambda run: informed(run, cpu_seconds=run.info.seconds * 0.7)),
    ("wall clock", lambda run: sampled(run, lambda n, s: replace(s, wall_ns=s.wall_ns + (100 * MS if n > 9 else 0)))),
    ("Little's law", lambda run: sampled(run, lambda n, s: replace(s, in_flight=s.in_flight * 2))),
    ("Little's law", lambda run: informed(run, samples=())),
    ("Little's law", lambda run: rowed(run, [r for r in run.rows if r.index % 5])),
    ("deadline", lambda run: first_with(run, end_ns=run.rows[0].sent_ns + 90_000 * MS)),
    ("null floor", lambda run: Run(run.rows, run.info, FLOOR | {"tpot": 0.0015})),
    ("null floor", lambda run: Run([replace(r, code="INTERNAL") for r in run.rows], run.info, FLOOR)),
    ("warm-up", lambda run: rowed(run, run.rows[:15])),
    ("warm-up", lambda run: rowed(run, [replace(r, code="INTERNAL") for r in run.rows])),
    ("drift of ttft", lambda run: rowed(run, [slowed(r, r.index) for r in run.rows])),
]  # fmt: skip


def warmed(run: Run, seconds: int) -> Run:
    """Return a run whose first seconds are a warm-up of its own."""
    (phase,) = run.info.phases
    end = seconds * 1000 * MS
    warm = replace(phase, name="warm-up", end_ns=end, is_measured=False)
    return informed(run, phases=(warm, replace(phase, start_ns=end)))


def test_a_target_that_is_cold_when_its_window_begins_misses_the_warm_up() -> None:
    cold = rowed(perfect(), [slowed(r, 4000 >> r.index // 10) if r.index < 60 else r for r in perfect().rows])
    assert gate_of(warmed(perfect(), 6), "warm-up").is_kept
    found = gate_of(warmed(cold, 6), "warm-up")
    assert (found.is_kept, found.found) == (False, "steady after 70, 32 before the window")
    assert gate_of(warmed(cold, 20), "warm-up").is_kept


@pytest.mark.parametrize("law", ["Poisson", "bursty"])
def test_a_sender_that_keeps_to_everything_keeps_every_gate(law: str) -> None:
    missed = [gate.reason for gate in gates(perfect(law)) if not gate.is_kept]
    assert missed == []


@pytest.mark.parametrize(("name", "spoil"), SPOILT)
def test_a_gate_is_missed_by_what_it_is_there_for(name: str, spoil: Spoil) -> None:
    found = gate_of(spoil(perfect()), name)
    assert not found.is_kept
    assert found.reason.startswith(f"{name}: expected ")


def test_every_gate_has_a_way_to_be_missed() -> None:
    names = {gate.name for gate in gates(perfect())}
    assert names - {name for name, _ in SPOILT} == {"drift of tpot"}  # decided as that of ttft is


def test_the_moment_from_which_nobody_answered_is_told() -> None:
    run = perfect()
    lost = [replace(row, code="UNAVAILABLE") if row.sent_ns > 30_000 * MS else row for row in run.rows]
    first = next(row for row in lost if not row.is_ok)
    assert f"nobody from {first.sent_ns / 1e9:.1f} s on" in gate_of(rowed(run, lost), "reachable target").found


def test_failures_now_and_then_are_the_target_s_own_affair() -> None:
    run = perfect()
    spoilt = rowed(run, [replace(row, code="UNAVAILABLE") if row.index % 10 == 0 else row for row in run.rows])
    assert gate_of(spoilt, "reachable target").is_kept


def test_a_slow_target_may_be_asked_a_little_late() -> None:
    run = perfect()
    late = rowed(run, [shifted(row, 7 * MS) for row in run.rows])
    assert gate_of(late, "send delay p99").is_kept  # 5 % of a median TTFT above 150 ms


def test_gates_on_the_law_are_left_out_of_what_follows_none() -> None:
    run = informed(perfect(), arrivals=Arrivals("trace", 5, trace="t"))
    left = [gate for gate in gates(run) if not gate.is_applicable]
    assert {gate.name for gate in left} >= {"law of the gaps", "lag-1 of the gaps", "dispersion"}
    assert all(gate.is_kept for gate in left)


def test_gates_on_a_schedule_are_left_out_of_a_closed_loop() -> None:
    run = informed(perfect(), arrivals=Arrivals("closed", 0, concurrency=4))
    left = {gate.name for gate in gates(run) if not gate.is_applicable}
    assert {"schedule", "achieved rate", "law of the gaps"} <= left


def test_without_a_null_run_its_gate_says_so() -> None:
    run = perfect()
    found = gate_of(Run(run.rows, run.info, None), "null floor")
    assert not found.is_applicable
    assert "no null run" in found.found


def test_the_length_of_a_gap_below_the_resolution_does_not_matter() -> None:
    source = random.Random(3)
    gaps = [source.gammavariate(1 / 9, 9) for _ in range(1000)]
    rounded = [0.0 if gap < 0.01 else gap for gap in gaps]
    assert law_p(gaps, 1 / 9, 0.01) == law_p(rounded, 1 / 9, 0.01)
    assert law_p(rounded, 1 / 9, 0.0) != law_p(gaps, 1 / 9, 0.0)


def test_a_rate_beyond_the_resolution_decides_nothing_about_the_law() -> None:
    assert law_p([1.0] * 50, 1.0, 5.0) is None
