"""Reports beside each other: what changed between two, and the matrix of several."""

from collections.abc import Sequence

from bellhousing_conformance.check import PROFILES
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.verdict import Frozen


class Change(Frozen):
    """A check whose status is not the same in two reports; empty where a report has not the check."""

    id: str
    before: str
    after: str
    problem: str = ""


class Matrix(Frozen):
    """Profiles by subjects: `cells[profile][place]` is a verdict, empty where a report has not the profile."""

    subjects: tuple[str, ...]
    cells: dict[str, tuple[str, ...]]
    checks: dict[str, tuple[str, ...]]


def changes(before: ConformanceReport, after: ConformanceReport) -> list[Change]:
    """Return the checks whose status changed, in the order of the later report, then those that it lacks."""
    old, new = ({result.id: result for result in report.checks} for report in (before, after))
    ids = [*new, *(each for each in old if each not in new)]
    return [
        Change(id=each, before=_status(old.get(each)), after=_status(new.get(each)), problem=_problem(new.get(each)))
        for each in ids
        if _status(old.get(each)) != _status(new.get(each))
    ]


def matrix(reports: Sequence[ConformanceReport]) -> Matrix:
    """Return several reports side by side, in the order given."""
    verdicts = [{profile.name: str(profile.verdict) for profile in report.profiles} for report in reports]
    statuses = [{result.id: str(result.status) for result in report.checks} for report in reports]
    ids = dict.fromkeys(each for known in statuses for each in known)
    return Matrix(
        subjects=tuple([f"{r.subject.backend or r.subject.address} {r.subject.model}".strip() for r in reports]),
        cells={n: tuple([v.get(n, "") for v in verdicts]) for n in PROFILES if any(n in v for v in verdicts)},
        checks={each: tuple([known.get(each, "") for known in statuses]) for each in ids},
    )


def _status(result: object) -> str:
    return str(getattr(result, "status", ""))


def _problem(result: object) -> str:
    problems = getattr(result, "problems", ())
    return problems[0] if problems else ""
