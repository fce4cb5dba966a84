"""Every figure of a report again, from its raw samples."""

from collections import Counter
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.check import Check, catalogue
from bellhousing_conformance.examination import LESSENED
from bellhousing_conformance.gates import gated
from bellhousing_conformance.report.model import Attempt, ConformanceReport, Result
from bellhousing_conformance.report.outcome import exit_code, is_conformant, left_out, profiles_of
from bellhousing_conformance.report.samples import read_samples
from bellhousing_conformance.runner import this_suite
from bellhousing_conformance.verdict import BY_AN_ISSUE, Status

SEEN = (Status.PASS, Status.XPASS, Status.MEASURED, Status.DIVERGENCE)
"""Statuses that a sample alone leads to. A failure may be a call's, and then its reason is all there is."""


def disagreements(report: ConformanceReport, folder: Path, checks: dict[str, Check]) -> list[str]:
    """Return what the samples do not bear out: a sentence each, none when the report is what follows from them."""
    numbers = Counter(result.id for result in report.checks)
    found = [f"{name}: expected once, found {number} times" for name, number in numbers.items() if number > 1]
    for result in report.checks:
        check = checks.get(result.id)
        if check is None:
            found.append(f"{result.id}: this suite has no such check")
            continue
        found += [
            f"{result.id}: {fault}" for fault in (*_declared_faults(result, check), *_status_faults(result, check))
        ]
        for attempt in result.attempts:
            found += [f"{result.id}, attempt {attempt.number}: {fault}" for fault in _faults(attempt, folder, check)]
    return found + _outcome_faults(report, checks)


def another_suite(report: ConformanceReport) -> str:
    """Return a sentence on a report that another suite has made, whose checks may be others; else nothing."""
    made, this = report.suite, this_suite()
    if made.digest == this.digest:
        return ""
    return (
        f"the report was made by suite {made.version} {made.digest}, and is judged by the checks of suite "
        f"{this.version} {this.digest}"
    )


def _declared_faults(result: Result, check: Check) -> list[str]:
    pairs = {
        "profile": (check.profile, result.profile),
        "requirement": (check.requirement, result.requirement),
        "clause": (check.clause, result.clause),
    }
    return [f"expected the {name} {own}, found {told}" for name, (own, told) in pairs.items() if own != told]


def _status_faults(result: Result, check: Check) -> list[str]:
    """Return what is wrong with the status of a result, from its attempts or, where it has none, its reason."""
    if not result.attempts:
        return _unseen_faults(result, check)
    *before, last = [attempt.judgement.status for attempt in result.attempts]
    by_issue = BY_AN_ISSUE.get(last)
    faults = []
    if result.status is not last and (result.status is not by_issue or not result.issue):
        faults.append(f"expected the status {last} of its last attempt, found {result.status}")
    numbers = [attempt.number for attempt in result.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        faults.append(f"expected attempts 1, 2 and so on, found {', '.join(map(str, numbers))}")
    is_over = last is not Status.FAIL or len(numbers) >= len(check.levels)
    if not is_over or any(status is not Status.FAIL for status in before):
        faults.append("expected another attempt after each that failed, and after no other")
    return faults


def _unseen_faults(result: Result, check: Check) -> list[str]:
    if result.status in SEEN:
        return [f"expected an attempt that shows {result.status}, found none"]
    if result.status is Status.NOT_SUPPORTED and not check.needs:
        return ["expected another status than NOT_SUPPORTED: it needs nothing that a target may lack"]
    if result.status is not Status.NOT_RUN and not result.reason:
        return [f"expected an attempt or a reason for {result.status}, found neither"]
    return []


def _faults(attempt: Attempt, folder: Path, check: Check) -> list[str]:
    if not 1 <= attempt.number <= len(check.levels):
        return [f"expected a number from 1 to {len(check.levels)}, as the check has attempts"]
    if (attempt.gates is not None) != check.alone:
        return [f"expected {'gates: the check runs' if check.alone else 'no gates: the check does not run'} alone"]
    try:
        rows = read_samples(folder, attempt.samples, attempt.sha256)
    except ConfigurationError as error:
        return [error.message]
    again = gated(check.judge(rows, check.levels[attempt.number - 1]), attempt.gates)
    told = attempt.judgement
    faults = [] if again.figures == told.figures else [f"expected figures {again.figures}, found {told.figures}"]
    is_lessened = told.status is Status.INCONCLUSIVE and any(each.startswith(LESSENED) for each in told.problems)
    if again.status is not told.status and not (is_lessened and again.status is not Status.FAIL):
        faults.append(f"expected status {again.status}, found {told.status}")
    return faults


def _outcome_faults(report: ConformanceReport, checks: dict[str, Check]) -> list[str]:
    missing = left_out(catalogue(), [checks[result.id] for result in report.checks if result.id in checks])
    expected = {
        "profiles": profiles_of(report.checks),
        "left_out": missing,
        "conformant": is_conformant(profiles_of(report.checks), missing),
        "exit_code": exit_code(report.checks, failure=report.failure),
    }
    return [
        f"{name}: expected {value}, found {getattr(report, name)}"
        for name, value in expected.items()
        if getattr(report, name) != value
    ]
