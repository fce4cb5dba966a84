"""Judges of times, which do not blame a target for a noisy machine.

While times are taken, `ticking` notes how late this process itself is woken: rows of the kind `tick`. Times too long on
a machine that is late itself decide nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bellhousing_conformance.judges import DECIDERS, Judge, all_hold, together, undecided
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TICK_SECONDS = 0.02
LATE_SECONDS = 0.05
"""A machine whose 90th percentile of lateness is above this is too noisy to fail a target by time."""


@asynccontextmanager
async def ticking(probe: Probe) -> AsyncIterator[None]:
    """Note the lateness of this process during the body."""

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            probe.observe("tick", seconds=max(0.0, time.perf_counter() - began - TICK_SECONDS))

    task = asyncio.ensure_future(tick())
    try:
        yield
    finally:
        task.cancel()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed. Raises `ValueError` for none."""
    if not values:
        raise ValueError("expected at least one value, found none")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def lateness(rows: Rows) -> float:
    """Return the 90th percentile of how late this process was woken, in seconds; 0 without ticks."""
    ticks = [float(row["seconds"]) for row in rows if row["kind"] == "tick"]
    return quantile(ticks, 0.9) if ticks else 0.0


def is_noisy(rows: Rows) -> bool:
    """Tell whether the machine was too noisy to fail a target by time."""
    return lateness(rows) > LATE_SECONDS


def quantile_at_most(kind: str, share: float, most: float) -> Judge:
    """Return a judge: this quantile of the `seconds` of rows of a kind is at most `most`; other rows must all hold."""

    def judge(rows: Rows, _alpha: float) -> Judgement:
        values = [float(row["seconds"]) for row in rows if row["kind"] == kind]
        decided = all_hold(rows) if any(row["kind"] in DECIDERS for row in rows) else None
        parts = [_judge_times(rows, kind, values, share, most), decided]
        return together(*filter(None, parts))

    return judge


def _judge_times(rows: Rows, kind: str, values: Sequence[float], share: float, most: float) -> Judgement:
    if not values:
        return undecided(rows, f"no {kind} was timed")
    found, late = quantile(values, share), lateness(rows)
    name = f"p{share * 100:g} of {kind}, seconds"
    figures = (
        Figure(name=f"{kind} n", value=len(values)),
        Figure(name=name, value=found, low=min(values), high=max(values)),
        Figure(name="p90 of this process's lateness, seconds", value=late),
    )
    if found <= most:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"{name}: expected at most {most:g}, found {found:.3g}"
    if late > LATE_SECONDS:
        noisy = f"{problem}; this process was woken {late:.3g} s late itself"
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(noisy,))
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))
