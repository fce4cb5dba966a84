"""Two greedy outputs of one request: equal, or parting where the two best tokens are nearly equal.

`greedy` makes a request that can be compared, `compare` notes a row of the kind `pair`, `judge` decides the rows.
"""

from collections.abc import Iterable
from typing import Any, Unpack

from bellhousing.client.arguments import GenerateArguments
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Run
from bellhousing_conformance.judges import DECIDERS, all_hold, together, undecided
from bellhousing_conformance.near_tie import first_divergence, is_near_tie, tolerance_at
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import bound_of_no_failures
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

PARTS_AT = "first difference at token"


def greedy(probe: Probe, prompt: str | None = None, **arguments: Unpack[GenerateArguments]) -> pb.GenerateRequest:
    """Return a greedy request, with the log probabilities that tell a near tie where the target has them."""
    arguments.setdefault("max_tokens", 24)
    if probe.supports("sampling.ignore_eos"):
        arguments.setdefault("ignore_eos", True)
    if probe.supports("logprobs.top"):
        arguments["logprobs"] = probe.alternatives(2)
    arguments["temperature"] = 0.0
    return probe.request(prompt, **arguments)


def tolerance(probe: Probe) -> float:
    """Return the largest gap that counts as a tie at the target's precision; 0 where it claims batch invariance."""
    if probe.supports("batch_invariance"):
        return 0.0
    return tolerance_at(probe.model.precision)


def compare(probe: Probe, what: str, left: Run, right: Run, *, allowed: float) -> None:
    """Note two outputs of one request; `allowed` is the largest gap at which they may part."""
    probe.observe("pair", **pair(what, left, right, allowed))


def pair(what: str, left: Run, right: Run, allowed: float) -> dict[str, Any]:
    """Return the row of two outputs: both, and the two greatest log probabilities of each where they part."""
    ids, others = _output(left), _output(right)
    place = first_divergence(ids, others)
    gap = None if place is None else [_best(run, place) for run in (left, right)]
    return {"what": what, "left": ids, "right": others, "best": gap, "allowed": allowed}


def partings(places: Iterable[int | None]) -> tuple[Figure, ...]:
    """Return a figure for each pair that parts, with the place of the first difference, from 1."""
    return tuple([Figure(name=PARTS_AT, value=place + 1) for place in places if place is not None])


def judge(rows: Rows, _alpha: float = 0.0) -> Judgement:
    """Pass when every pair agrees and every other row holds."""
    pairs = [row for row in rows if row["kind"] == "pair"]
    parts = [all_hold(rows)] if any(row["kind"] in DECIDERS for row in rows) else []
    if not pairs:
        missing = undecided(rows, "no two outputs were compared")
        return together(missing, *parts)
    wrong = [_problem(row) for row in pairs if not _agrees(row)]
    parted = sum(row["left"] != row["right"] for row in pairs)
    figures = (
        Figure(name="pairs", value=len(pairs)),
        Figure(name="pairs that part at a near tie", value=parted - len(wrong)),
        *partings(first_divergence(row["left"], row["right"]) for row in pairs),
    )
    if wrong:
        return together(Judgement(status=Status.FAIL, figures=figures, problems=tuple(wrong)), *parts)
    bound = Figure(name="rate of disagreement", value=0.0, low=0.0, high=bound_of_no_failures(len(pairs)))
    return together(Judgement(status=Status.PASS, figures=(*figures, bound)), *parts)


def compare_all(probe: Probe, what: str, solo: Iterable[Run], others: Iterable[Run]) -> None:
    """Note the outputs of the same requests in two settings, with the tolerance of the target's precision."""
    allowed = tolerance(probe)
    for left, right in zip(solo, others, strict=True):
        compare(probe, what, left, right, allowed=allowed)


def _output(run: Run) -> list[int] | list[str]:
    """Return the ids of a run, or what stands for them where the target tells none.

    That is each token's bytes, in hexadecimal, so that a place is the one of the log probabilities; code points where
    none are told.
    """
    if run.ids():
        return run.ids()
    tokens = [entry.token for entry in run.logprobs()]
    if tokens and b"".join(tokens) == run.text().encode():
        return [token.hex() for token in tokens]
    return [ord(character) for character in run.text()]


def _best(run: Run, place: int) -> list[float]:
    """Return the two greatest log probabilities at a place; fewer where the target tells none."""
    entries = run.logprobs()
    return [each.logprob for each in entries[place].top][:2] if place < len(entries) else []


def _agrees(row: Row) -> bool:
    if first_divergence(row["left"], row["right"]) is None:
        return True
    told = [best for best in row["best"] or () if len(best) >= 2]
    return row["allowed"] > 0 and any(is_near_tie(best, row["allowed"]) for best in told)


def _problem(row: Row) -> str:
    place = first_divergence(row["left"], row["right"])
    allowed = f"to part only at gaps of at most {row['allowed']:g} nat" if row["allowed"] else "to be equal"
    gaps = ", ".join(f"{best[0] - best[1]:.3g}" for best in row["best"] or () if len(best) >= 2) or "not told"
    return f"{row['what']}: expected the outputs {allowed}, found them to part at token {place}, gaps {gaps}"
