"""Reports beside each other: what changed between two, and the matrix of several."""

from collections.abc import Sequence
from typing import Literal

from bellhousing_conformance.check import PROFILES
from bellhousing_conformance.report.model import ConformanceReport, Result
from bellhousing_conformance.report.outcome import BROKEN
from bellhousing_conformance.report.reading import Cell, Standing, cell, standing, title
from bellhousing_conformance.verdict import Frozen, Status

Kind = Literal["broken", "lost", "mended", "won", "new", "gone", "other"]
KINDS: dict[Kind, str] = {
    "broken": "now fails",
    "lost": "passed, and does not any more",
    "mended": "failed, and does not any more",
    "won": "passes now",
    "new": "not in the earlier report",
    "gone": "not in the later report",
    "other": "came out differently",
}
"""The kinds of change in words, the gravest first."""


class Change(Frozen):
    """A check whose status is not the same in two reports; empty where a report has not the check."""

    id: str
    title: str
    before: str
    after: str
    kind: Kind
    problem: str = ""
    reproduce: str = ""


class Difference(Frozen):
    """Something about the two runs that is not the same, such as the engine's version."""

    what: str
    before: str
    after: str


class Matrix(Frozen):
    """Profiles by subjects: `cells[profile][place]` is a cell, `checks[id][place]` a status, empty for none."""

    subjects: tuple[str, ...]
    standings: tuple[Standing, ...]
    cells: dict[str, tuple[Cell, ...]]
    checks: dict[str, tuple[str, ...]]
    cautions: tuple[str, ...]


def changes(before: ConformanceReport, after: ConformanceReport) -> list[Change]:
    """Return the checks whose status changed, the gravest changes first, each kind in the order of the run."""
    old, new = ({result.id: result for result in report.checks} for report in (before, after))
    ids = [*new, *(each for each in old if each not in new)]
    found = [_change(old.get(each), new.get(each)) for each in ids if _status(old.get(each)) != _status(new.get(each))]
    return sorted(found, key=lambda change: list(KINDS).index(change.kind))


def differences(before: ConformanceReport, after: ConformanceReport) -> list[Difference]:
    """Return what else is not the same: suite, contract, subject, host, tier and seed; not the address."""
    old, new = _facts(before), _facts(after)
    return [
        Difference(what=name, before=old[name] or "none", after=new[name] or "none")
        for name in old
        if old[name] != new[name]
    ]


def matrix(reports: Sequence[ConformanceReport]) -> Matrix:
    """Return several reports side by side, in the order given."""
    statuses = [{result.id: str(result.status) for result in report.checks} for report in reports]
    ids = dict.fromkeys(each for known in statuses for each in known)
    named = [name for name in PROFILES if any(p.name == name for report in reports for p in report.profiles)]
    return Matrix(
        subjects=_subjects(reports),
        standings=tuple([standing(report) for report in reports]),
        cells={name: tuple([cell(report, name) for report in reports]) for name in named},
        checks={each: tuple([known.get(each, "") for known in statuses]) for each in ids},
        cautions=tuple(_cautions(reports)),
    )


def _change(before: Result | None, after: Result | None) -> Change:
    told = after or before
    assert told is not None  # ids come from either report
    problems = after.problems if after else ()
    return Change(
        id=told.id,
        title=told.title,
        before=_status(before),
        after=_status(after),
        kind=_kind(before, after),
        problem=problems[0] if problems else "",
        reproduce=after.reproduce if after else "",
    )


def _kind(before: Result | None, after: Result | None) -> Kind:
    if after is None:
        return "gone"
    if after.status in BROKEN:
        return "broken"
    if before is None:
        return "new"
    if before.status in BROKEN:
        return "mended" if after.status is Status.PASS else "other"
    if before.status is Status.PASS:
        return "lost"
    return "won" if after.status is Status.PASS else "other"


def _status(result: Result | None) -> str:
    return str(result.status) if result else ""


def _facts(report: ConformanceReport) -> dict[str, str]:
    facts = {"tier": report.tier, "seed": str(report.seed), "stopped by": report.failure}
    for group, part in (("suite", report.suite), ("subject", report.subject), ("host", report.host)):
        facts |= {f"{group} {name}".replace("_", " "): str(value) for name, value in part.model_dump().items()}
    for changing in ("subject address", "subject instance id"):
        del facts[changing]
    return facts


def _cautions(reports: Sequence[ConformanceReport]) -> list[str]:
    """Return why reports may not be comparable."""
    asked: dict[str, list[str]] = {
        "tier": [report.tier for report in reports],
        "version of the suite": [report.suite.digest for report in reports],
        "contract": [report.suite.contract_digest for report in reports],
        "choice of checks": [",".join(sorted(result.id for result in report.checks)) for report in reports],
    }
    unlike = [what for what, values in asked.items() if len(set(values)) > 1]
    return (
        [f"not of the same {', '.join(unlike)}: what differs between these reports may come from that"]
        if unlike
        else []
    )


def _subjects(reports: Sequence[ConformanceReport]) -> tuple[str, ...]:
    """Return what to call each report, with its address where others have the same title."""
    titles = [title(report) for report in reports]
    return tuple(
        [
            f"{name} at {report.subject.address}" if titles.count(name) > 1 else name
            for name, report in zip(titles, reports, strict=True)
        ]
    )
