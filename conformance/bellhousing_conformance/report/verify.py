"""Every figure of a report again, from its raw samples."""

from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.check import Check
from bellhousing_conformance.examination import LESSENED
from bellhousing_conformance.gates import gated
from bellhousing_conformance.report.model import Attempt, ConformanceReport
from bellhousing_conformance.report.outcome import exit_code, is_conformant, profiles_of
from bellhousing_conformance.report.samples import read_samples
from bellhousing_conformance.stats import ALPHAS
from bellhousing_conformance.verdict import Status

DECIDED = (Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.DIVERGENCE, Status.MEASURED)


def disagreements(report: ConformanceReport, folder: Path, checks: dict[str, Check]) -> list[str]:
    """Return what the samples do not bear out: a sentence each, none when the report is what follows from them."""
    found = []
    for result in report.checks:
        check = checks.get(result.id)
        if check is None:
            found.append(f"{result.id}: this suite has no such check")
            continue
        for attempt in result.attempts:
            found += [f"{result.id}, attempt {attempt.number}: {fault}" for fault in _faults(attempt, folder, check)]
        last = result.attempts[-1].judgement.status if result.attempts else None
        if last is not None and result.status in DECIDED and result.status is not last:
            found.append(f"{result.id}: expected the status {last} of its last attempt, found {result.status}")
    return found + _outcome_faults(report)


def _faults(attempt: Attempt, folder: Path, check: Check) -> list[str]:
    try:
        rows = read_samples(folder, attempt.samples, attempt.sha256)
    except ConfigurationError as error:
        return [error.message]
    again = gated(check.judge(rows, ALPHAS[attempt.number - 1]), attempt.gates)
    told = attempt.judgement
    faults = [] if again.figures == told.figures else [f"expected figures {again.figures}, found {told.figures}"]
    is_lessened = told.status is Status.INCONCLUSIVE and any(each.startswith(LESSENED) for each in told.problems)
    if again.status is not told.status and not is_lessened:
        faults.append(f"expected status {again.status}, found {told.status}")
    return faults


def _outcome_faults(report: ConformanceReport) -> list[str]:
    expected = {
        "profiles": profiles_of(report.checks),
        "conformant": is_conformant(profiles_of(report.checks), report.left_out),
        "exit_code": exit_code(report.checks, failure=report.failure),
    }
    return [
        f"{name}: expected {value}, found {getattr(report, name)}"
        for name, value in expected.items()
        if getattr(report, name) != value
    ]
