"""Markdown: the verdict, the profiles and the failures, for a pull request."""

from collections.abc import Iterable, Sequence

from bellhousing_conformance.report.comparison import KINDS, Change, Difference, Matrix
from bellhousing_conformance.report.model import ConformanceReport, Result
from bellhousing_conformance.report.reading import (
    FAILURES,
    NOTES,
    UNDECIDED,
    Cell,
    Group,
    cell,
    counted,
    counts,
    duration,
    figure_text,
    gates,
    groups,
    ids,
    problems,
    standing,
    title,
    with_status,
    word,
)

SHOWN_FAILURES = 10
SHOWN_PROBLEMS = 3


def markdown(report: ConformanceReport) -> str:
    """Return the report as Markdown."""
    subject, held = report.subject, standing(report)
    engine = f"{subject.engine} {subject.engine_version}".strip() or "engine not told"
    lines = [f"# Conformance of {in_line(title(report))}", ""]
    lines += [
        f"**{held.word}.** {in_line(engine)}, tier {report.tier}, seed {report.seed}, {duration(report.seconds)}, "
    ]
    lines += [f"exit code {report.exit_code}: {counted(counts(report))}.", ""]
    lines += [f"- {in_line(reason)}" for reason in held.reasons]
    lines += ["", *table(("profile", "verdict", "checks"), (_profile(report, p.name) for p in report.profiles))]
    bad = with_status(report.checks, FAILURES)
    lines += ["", "## Failures"] if bad else []
    for result in bad[:SHOWN_FAILURES]:
        lines += failure(result)
    if len(bad) > SHOWN_FAILURES:
        lines += ["", f"And {len(bad) - SHOWN_FAILURES} more: {ids([r.id for r in bad[SHOWN_FAILURES:]])}."]
    lines += grouped("Not decided", groups(report.checks, UNDECIDED))
    lines += grouped("Not supported, or different where the contract is silent", groups(report.checks, NOTES))
    measured = gates(report)
    if measured:
        rows = [(g.name, g.worst, g.most, ", ".join(g.broken) or f"none of {g.checks}") for g in measured]
        lines += ["", "## Gates", "", *table(("of the suite's own process", "worst", "at most", "broken in"), rows)]
    lines += ["", "<details><summary>Every check</summary>", ""]
    lines += table(("check", "status", "what", "figures"), map(_check, report.checks))
    return "\n".join([*lines, "", "</details>"]) + "\n"


def matrix_markdown(found: Matrix) -> str:
    """Return several reports side by side as Markdown."""
    subjects = [in_line(subject) for subject in found.subjects]
    rows = [("conformance", *(f"**{each.word}**" for each in found.standings))]
    rows += [(name, *map(summary, cells)) for name, cells in found.cells.items()]
    checks = [(each, *(word(status) or "absent" for status in statuses)) for each, statuses in found.checks.items()]
    lines = ["# Conformance, side by side", "", *(f"> {caution.capitalize()}." for caution in found.cautions)]
    lines += ["", *table(("profile", *subjects), rows), "", "<details><summary>Every check</summary>", ""]
    return "\n".join([*lines, *table(("check", *subjects), checks), "", "</details>"]) + "\n"


def difference_markdown(found: Sequence[Change], differences: Sequence[Difference]) -> str:
    """Return what changed between two reports as Markdown."""
    rows = [
        (c.id, word(c.before) or "absent", word(c.after) or "absent", KINDS[c.kind], in_line(c.problem)) for c in found
    ]
    lines = ["# What changed", ""]
    lines += table(("check", "before", "after", "", "found"), rows) if rows else ["Every check came out as before."]
    if differences:
        others = [(each.what, in_line(each.before), in_line(each.after)) for each in differences]
        lines += ["", "## What else is not the same", "", *table(("", "before", "after"), others)]
    return "\n".join(lines) + "\n"


def failure(result: Result) -> list[str]:
    """Return a failure as lines: what was found, and the command that reproduces it."""
    told = problems(result)
    shown = [f"- {in_line(problem)}" for problem in told[:SHOWN_PROBLEMS]]
    more = len(told) - SHOWN_PROBLEMS
    rest = [f"- and {more} more"] if more > 0 else []
    command = ["", "```sh", result.reproduce, "```"] if result.reproduce else []
    heading = f"### {result.id} {word(result.status)}: {in_line(result.title)}"
    clause = f"{result.requirement} of {result.profile}, clause `{result.clause}`."
    return ["", heading, "", clause, "", *shown, *rest, *command]


def grouped(heading: str, found: Sequence[Group], *, level: str = "##") -> list[str]:
    """Return results that share a status and a reason as a section; nothing when there are none."""
    if not found:
        return []
    lines = [
        f"- {word(group.status)}: {', '.join(result.id for result in group.results)}: {in_line(group.reason)}"
        for group in found
    ]
    return ["", f"{level} {heading}", "", *lines]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines."""
    return [_row(head), "|" + "---|" * len(head), *map(_row, rows)]


def summary(found: Cell) -> str:
    """Return a cell of the matrix."""
    if not found.verdict:
        return "not in this run"
    rest = f"; {found.rest}" if found.rest else ""
    return f"**{word(found.verdict)}** {found.passed} of {found.total} passed{rest}"


def in_line(text: str) -> str:
    """Return text from elsewhere as part of a line: no table, heading or HTML comes of it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _profile(report: ConformanceReport, name: str) -> tuple[str, str, str]:
    found = cell(report, name)
    rest = f"; {found.rest}" if found.rest else ""
    return name, word(found.verdict), f"{found.passed} of {found.total} passed{rest}"


def _check(result: Result) -> tuple[str, str, str, str]:
    figures = "; ".join(figure_text(figure) for figure in result.figures)
    return result.id, word(result.status), in_line(result.title), in_line(figures)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
