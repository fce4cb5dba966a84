"""Judge every backend of a list; what is not installed is named as absent, what does not start as that."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bellhousing.errors import BellhousingError
from bellhousing_conformance.against import RecordedOther
from bellhousing_conformance.check import Check
from bellhousing_conformance.oracles import Reference
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.writers import JSON_FILE, read_report, write_report
from bellhousing_conformance.results.entries import Entry
from bellhousing_conformance.runner import INTERRUPTED, Display, Plan, command, run
from bellhousing_conformance.targets.started import started
from bellhousing_conformance.verdict import Frozen, Tier

LOOK_SECONDS = 120.0


class Outcome(Frozen):
    """What became of an entry: a report, or why there is none."""

    entry: Entry
    report: ConformanceReport | None = None
    absent: str = ""
    not_started: str = ""

    @property
    def is_interrupted(self) -> bool:
        """Whether the command was told to end meanwhile."""
        return INTERRUPTED in (self.not_started, self.report.failure if self.report else "")


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask of an entry: its checks, the tier that sizes samples, and the reference of its weights."""

    entry: Entry
    tier: Tier
    checks: Sequence[Check]
    reference: Reference | None = None


Told = Callable[[Sequence[Outcome]], None]
"""Hears of all outcomes so far after each one, the newest last."""


async def collect(
    asked: Sequence[Asked], seed: int, folder: Path, display: Display | None, told: Told, *, resume: bool = False
) -> list[Outcome]:
    """Judge the entries in order; each report goes to a folder of its name.

    With `resume` the reports that are in the folder already and answer the same question are kept; the document tells
    the suite of each. When this is cancelled, the entries that were not judged are told as not started.
    """
    outcomes: list[Outcome] = []
    compared = {each.entry.against for each in asked}
    for each in asked:
        if outcomes and outcomes[-1].is_interrupted:
            outcomes.append(Outcome(entry=each.entry, not_started=INTERRUPTED))
            continue
        own = folder / each.entry.name
        other = _other_side(each, folder, outcomes)
        plan = replace(_plan(each, seed, other), record=each.entry.name in compared)
        kept = finished(own, plan) if resume else None
        if kept is not None:
            outcomes.append(Outcome(entry=each.entry, report=kept))
        else:
            beside = other if isinstance(other, Entry) else None
            outcomes.append(await _judged_until_interrupted(each.entry, beside, plan, own, display))
        told(outcomes)
    return outcomes


def _plan(asked: Asked, seed: int, other: RecordedOther | Entry | None) -> Plan:
    entry = asked.entry
    recorded = other if isinstance(other, RecordedOther) else None
    beside = [f"--against={recorded.folder if recorded else 'HOST:PORT'}"] if other else []
    told = entry if asked.reference else entry.model_copy(update={"reference": None})
    return Plan(
        asked.checks,
        asked.tier,
        seed,
        keep_going=True,
        against=recorded,
        reference=asked.reference,
        reproduce=command([*told.flags(), *beside], asked.tier, seed),
    )


def _other_side(asked: Asked, folder: Path, outcomes: Sequence[Outcome]) -> RecordedOther | Entry | None:
    """Return the other side of EQUIVALENCE: an earlier report that has the samples, else the entry to start beside.

    None where nothing is compared, or the other side could not be judged.
    """
    if not any(check.paired for check in asked.checks):
        return None
    for outcome in outcomes:
        if outcome.entry.name == asked.entry.against and outcome.report is not None:
            is_told = _has_samples(outcome.report, asked)
            return RecordedOther(outcome.report, folder / asked.entry.against) if is_told else outcome.entry
    return None


def _has_samples(report: ConformanceReport, asked: Asked) -> bool:
    kept = {result.id for result in report.checks if result.attempts}
    wanted = {check.id for check in asked.checks if check.paired}
    return report.tier == asked.tier and wanted <= kept


def finished(folder: Path, plan: Plan) -> ConformanceReport | None:
    """Return the report of a folder that answers a plan to its end; None without one."""
    if not (folder / JSON_FILE).is_file():
        return None
    report, _ = read_report(folder)
    is_whole = not report.failure and (report.tier, report.seed) == (plan.tier, plan.seed)
    asked = [(check.id, f"{plan.reproduce} --check {check.id}") for check in plan.checks]
    is_same = [(result.id, result.reproduce) for result in report.checks] == asked
    return report if is_whole and is_same else None


async def _judged_until_interrupted(
    entry: Entry, beside: Entry | None, plan: Plan, folder: Path, display: Display | None
) -> Outcome:
    try:
        outcome = await _judged(entry, beside, plan, folder, display)
    except asyncio.CancelledError:
        return Outcome(entry=entry, not_started=INTERRUPTED)
    if outcome.report is not None:
        write_report(outcome.report, folder)
    return outcome


async def _judged(entry: Entry, beside: Entry | None, plan: Plan, folder: Path, display: Display | None) -> Outcome:
    absent = await absence(entry)
    if absent:
        return Outcome(entry=entry, absent=absent)
    async with AsyncExitStack() as stack:
        try:
            target = await stack.enter_async_context(started([entry.server_model()], python=entry.python))
            if beside is not None:
                other = await stack.enter_async_context(started([beside.server_model()], python=beside.python))
                plan = replace(plan, against=other)
        except BellhousingError as error:
            return Outcome(entry=entry, not_started=error.message)
        return Outcome(entry=entry, report=await run(target, plan, folder, display))


async def absence(entry: Entry) -> str:
    """Return why a backend cannot be there, as its interpreter tells it; empty when it is installed."""
    python = entry.python or Path(sys.executable)
    if not python.is_file():
        return f"there is no interpreter {python}"
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            process = await asyncio.create_subprocess_exec(
                python, "-m", "bellhousing", "backends", "--json",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            output, _ = await process.communicate()
    except (OSError, TimeoutError) as error:
        return f"{python} does not tell its backends: {str(error) or 'no answer'}"
    return _absence(entry, python, output)


def _absence(entry: Entry, python: Path, output: bytes) -> str:
    try:
        found = {each["backend"]: str(each.get("error", "")) for each in json.loads(output)}
    except ValueError:
        return f"{python} has no bellhousing that tells its backends"
    if entry.backend not in found:
        return f"no backend named {entry.backend!r} is installed; installed: {', '.join(sorted(found)) or 'none'}"
    error = found[entry.backend]
    return f"the backend {entry.backend!r} cannot be imported: {error}" if error else ""
