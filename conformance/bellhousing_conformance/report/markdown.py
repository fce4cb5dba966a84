"""Markdown: the verdict table and the failures, for a pull request."""

from bellhousing_conformance.report.model import ConformanceReport, Result
from bellhousing_conformance.verdict import Figure, Status

SHOWN_FAILURES = 10
SHOWN_PROBLEMS = 3
BAD = (Status.FAIL, Status.XPASS, Status.ERROR)


def markdown(report: ConformanceReport) -> str:
    """Return the report as Markdown."""
    subject = report.subject
    who = f"{subject.backend or 'unknown backend'} ({subject.engine} {subject.engine_version})".replace("( )", "")
    lines = [f"# Conformance of {subject.model or subject.address}: {who}", ""]
    if report.failure:
        lines += [f"**The run did not finish:** {_cell(report.failure)}", ""]
    word = "Conformant" if report.conformant else "Not shown to be conformant"
    lines += [
        f"{word}. Tier {report.tier}, seed {report.seed}, {report.seconds:.0f} s, exit code {report.exit_code}.",
        "",
    ]
    lines += ["| profile | verdict | checks |", "|---|---|---|"]
    for profile in report.profiles:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(profile.counts.items()))
        lines.append(f"| {profile.name} | {profile.verdict} | {counts} |")
    lines += ["", "| check | status | what | figures |", "|---|---|---|---|"]
    for result in report.checks:
        figures = "; ".join(figure_text(figure) for figure in result.figures)
        lines.append(f"| {result.id} | {result.status} | {_cell(result.title)} | {_cell(figures)} |")
    for result in [each for each in report.checks if each.status in BAD][:SHOWN_FAILURES]:
        lines += _failure(result)
    return "\n".join(lines) + "\n"


def figure_text(figure: Figure) -> str:
    """Return a figure with its interval, as people read it."""
    text = f"{figure.name} {figure.value:.4g}"
    if figure.low is None and figure.high is None:
        return text
    low = "-∞" if figure.low is None else f"{figure.low:.3g}"
    high = "∞" if figure.high is None else f"{figure.high:.3g}"
    return f"{text} [{low}, {high}]"


def _failure(result: Result) -> list[str]:
    problems = [f"- {_cell(problem)}" for problem in result.problems[:SHOWN_PROBLEMS]]
    more = len(result.problems) - SHOWN_PROBLEMS
    rest = [f"- and {more} more"] if more > 0 else []
    command = ["", "```sh", result.reproduce, "```"] if result.reproduce else []
    heading = f"## {result.id}: {result.title}"
    return ["", heading, "", f"Clause `{result.clause}`.", "", *problems, *rest, *command]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
