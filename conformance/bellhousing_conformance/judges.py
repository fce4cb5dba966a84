"""From the rows of an attempt to a judgement, as pure functions: `verify` runs them again on the recorded rows.

`all_hold` is the judge of every check that names no other. It decides rows of three kinds again from their values:

- `equal`: `found` must equal `expected`;
- `within`: `found` must lie in [`low`, `high`], a missing bound is none;
- `holds`: `holds` must be true; for what cannot be told by one value.

A row `left_out` tells of something that could not be looked at: where those are more than the decided ones, or there is
none of these, nothing is decided. Rows of any other kind are data for a judge of the check's own.
"""

import math
from collections.abc import Callable

from bellhousing_conformance.stats import bound_of_no_failures
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

Judge = Callable[[Rows, float], Judgement]
"""Takes the rows and the level of significance."""

LEFT_OUT = "left_out"
"""The kind of a row for what a check could not look at; `what` says why."""

SHOWN = 200
"""Characters of a value that a problem quotes."""


def all_hold(rows: Rows, _alpha: float = 0.0) -> Judgement:
    """Pass when every decided row holds; a pass bounds the rate of failures by 3/n. Undecided without enough."""
    decided = [row for row in rows if row["kind"] in DECIDERS]
    problems = tuple([_problem(row) for row in decided if not DECIDERS[row["kind"]](row)])
    count = float(len(decided))
    if problems:
        figures = (Figure(name="n", value=count), Figure(name="failures", value=float(len(problems))))
        return Judgement(status=Status.FAIL, figures=figures, problems=problems)
    if not decided:
        return undecided(rows, "nothing was looked at")
    bound = Figure(name="failure_rate", value=0.0, low=0.0, high=bound_of_no_failures(len(decided)))
    figures = (Figure(name="n", value=count), bound)
    left_out = sum(row["kind"] == LEFT_OUT for row in rows)
    if left_out > len(decided):
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=reasons(rows))
    return Judgement(status=Status.PASS, figures=figures)


def undecided(rows: Rows, what: str) -> Judgement:
    """Return the judgement of rows that decide nothing: for the reasons in them, or else for the one given."""
    return Judgement(status=Status.INCONCLUSIVE, problems=reasons(rows) or (what,))


def reasons(rows: Rows) -> tuple[str, ...]:
    """Return why something was not looked at, each reason once."""
    return tuple(dict.fromkeys(str(row["what"]) for row in rows if row["kind"] == LEFT_OUT))


def together(*judgements: Judgement) -> Judgement:
    """Return one judgement of several: the worst status, all figures, all problems."""
    order = (Status.FAIL, Status.INCONCLUSIVE, Status.DIVERGENCE, Status.PASS, Status.MEASURED)
    return Judgement(
        status=min((part.status for part in judgements), key=order.index),
        figures=tuple([figure for part in judgements for figure in part.figures]),
        problems=tuple([problem for part in judgements for problem in part.problems]),
    )


def _is_within(row: Row) -> bool:
    found = float(row["found"])
    low, high = row.get("low"), row.get("high")
    return not math.isnan(found) and (low is None or found >= low) and (high is None or found <= high)


DECIDERS: dict[str, Callable[[Row], bool]] = {
    "equal": lambda row: bool(row["found"] == row["expected"]),
    "within": _is_within,
    "holds": lambda row: bool(row["holds"]),
}


def _problem(row: Row) -> str:
    if row["kind"] == "holds":
        return str(row["what"])
    if row["kind"] == "equal":
        return f"{row['what']}: expected {_short(row['expected'])}, found {_short(row['found'])}"
    bounds = {"at least": row.get("low"), "at most": row.get("high")}
    wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    return f"{row['what']}: expected {wanted}, found {row['found']:g}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
