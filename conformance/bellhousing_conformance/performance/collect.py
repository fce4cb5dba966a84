"""Compare every backend of a list with the first; what is not installed is named as absent."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing_conformance.compare.comparison import COMPARISON_FILE, Comparison, comparison_of, read_comparison
from bellhousing_conformance.compare.execution import Display, Stopped, measure
from bellhousing_conformance.compare.settings import (
    Settings,
    is_begun,
    read_settings,
    require_new,
    require_same,
)
from bellhousing_conformance.compare.writers import write_forms
from bellhousing_conformance.performance.entries import SpeedEntry, SpeedFile
from bellhousing_conformance.results.collect import absence
from bellhousing_conformance.runner import INTERRUPTED
from bellhousing_conformance.verdict import Frozen


class SpeedOutcome(Frozen):
    """What became of an entry: a comparison, why there is none, or both where it is not finished."""

    entry: SpeedEntry
    comparison: Comparison | None = None
    absent: str = ""
    stopped: str = ""


DisplayOf = Callable[[Settings], AbstractContextManager[Display]]
"""Shows how a comparison goes."""

Told = Callable[[Sequence[SpeedOutcome]], None]
"""Hears of all outcomes so far after each one, the newest last."""


async def collect(
    told: SpeedFile, folder: Path, display_of: DisplayOf, heard: Told, *, resume: bool
) -> list[SpeedOutcome]:
    """Compare the entries in order; each comparison goes to a folder of its name.

    With `resume` what is measured there is kept, and what is missing is measured. When this is cancelled, what is not
    finished is told as that. Raises `ConfigurationError` for a folder that has another comparison.
    """
    outcomes: list[SpeedOutcome] = []
    missing = await absence(told.reference)
    for entry in told.others:
        if outcomes and outcomes[-1].stopped == INTERRUPTED:
            outcomes.append(SpeedOutcome(entry=entry, stopped=INTERRUPTED))
            continue
        absent = missing or await absence(entry)
        if absent:
            outcomes.append(SpeedOutcome(entry=entry, absent=absent))
        else:
            settings = told.settings(entry)
            _prepare(settings, folder / entry.name, resume=resume)
            outcomes.append(await _compared(entry, settings, folder / entry.name, display_of))
        heard(outcomes)
    return outcomes


def _prepare(settings: Settings, folder: Path, *, resume: bool) -> None:
    if resume and is_begun(folder):
        require_same(read_settings(folder), settings.model_dump(mode="json"), folder)
    else:
        require_new(folder)


async def _compared(entry: SpeedEntry, settings: Settings, folder: Path, display_of: DisplayOf) -> SpeedOutcome:
    if (folder / COMPARISON_FILE).is_file() and _is_finished(read_comparison(folder), settings):
        return SpeedOutcome(entry=entry, comparison=read_comparison(folder))
    stopped = ""
    try:
        with display_of(settings) as display:
            await measure(settings, folder, display)
    except asyncio.CancelledError:
        stopped = INTERRUPTED
    except (BellhousingError, Stopped) as error:
        stopped = str(error)
    try:
        comparison = comparison_of(folder)
    except ConfigurationError:
        if not stopped:
            raise
        return SpeedOutcome(entry=entry, stopped=stopped)  # it had not come to the first block
    write_forms(comparison, folder)
    return SpeedOutcome(entry=entry, comparison=comparison, stopped=stopped)


def _is_finished(comparison: Comparison, settings: Settings) -> bool:
    return comparison.settings == settings and comparison.pairs == settings.pairs
