"""Judge every backend of a list; what is not installed is named as absent, what does not start as that."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bellhousing.errors import BellhousingError
from bellhousing_conformance.check import Check
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.writers import write_report
from bellhousing_conformance.results.entries import EntriesFile, Entry
from bellhousing_conformance.runner import INTERRUPTED, Display, Plan, command, run
from bellhousing_conformance.targets.started import started
from bellhousing_conformance.verdict import Frozen

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


Told = Callable[[Outcome], None]


async def collect(
    told: EntriesFile, checks: Sequence[Check], folder: Path, display: Display | None, done: Told
) -> list[Outcome]:
    """Judge the entries in order; each report goes to a folder of its name, and `done` hears of each outcome.

    When this is cancelled, the entries that were not judged are told as not started.
    """
    outcomes: list[Outcome] = []
    for entry in told.target:
        if outcomes and outcomes[-1].is_interrupted:
            outcomes.append(Outcome(entry=entry, not_started=INTERRUPTED))
            continue
        plan = Plan(
            checks, told.tier, told.seed, keep_going=True, reproduce=command(entry.flags(), told.tier, told.seed)
        )
        try:
            outcome = await _judged(entry, plan, folder / entry.name, display)
        except asyncio.CancelledError:
            outcome = Outcome(entry=entry, not_started=INTERRUPTED)
        if outcome.report is not None:
            write_report(outcome.report, folder / entry.name)
        done(outcome)
        outcomes.append(outcome)
    return outcomes


async def _judged(entry: Entry, plan: Plan, folder: Path, display: Display | None) -> Outcome:
    absent = await absence(entry)
    if absent:
        return Outcome(entry=entry, absent=absent)
    model = {"backend": entry.backend, "name": entry.name, "model": entry.model, "options": dict(entry.options)}
    async with AsyncExitStack() as stack:
        try:
            target = await stack.enter_async_context(started([model], python=entry.python))
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
        return f"{python} does not tell its backends: {error or 'no answer'}"
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
