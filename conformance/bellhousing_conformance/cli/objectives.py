"""How declared objectives are told, and what they make of an exit code."""

from collections.abc import Sequence

from bellhousing.cli.output import FAILED, print_table
from bellhousing_conformance.report.outcome import PARTIAL
from bellhousing_conformance.verdict import Judgement, Status


def tell_objectives(judged: Sequence[tuple[str, Judgement]]) -> None:
    """Print what became of each objective, and why."""
    if judged:
        rows = [(each.status.value, name, "; ".join(each.problems)) for name, each in judged]
        print_table(("OBJECTIVE", "", "WHY NOT"), rows)


def code_of(statuses: Sequence[Status]) -> int:
    """Return the exit code: 1 where an objective failed, 4 where one could not be decided, else 0."""
    if Status.FAIL in statuses:
        return FAILED
    return PARTIAL if Status.INCONCLUSIVE in statuses else 0
