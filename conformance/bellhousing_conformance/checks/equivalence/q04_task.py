"""Q04: both targets do equally well at a task."""

import math
from statistics import NormalDist

from bellhousing_conformance.against import comparing
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.task import made_items, read_items
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

MARGIN = 0.05
CONFIDENCE = 0.90
"""Of the interval: two one-sided tests at 5 % each (Schuirmann, 1987)."""

AT_ONCE = 4


def compare(target: Rows, other: Rows, _alpha: float) -> Judgement:
    """Pass when the interval of the difference lies within the margin, fail when it lies outside."""
    told, others = ({row["place"]: row for row in side if row["kind"] == "answer"} for side in (target, other))
    both = sorted(told.keys() & others.keys())
    if not both or any(told[place]["prompt"] != others[place]["prompt"] for place in both):
        return Judgement(status=Status.INCONCLUSIVE, problems=("the two sides were not given the same items",))
    gained = sum(told[place]["right"] and not others[place]["right"] for place in both)
    lost = sum(others[place]["right"] and not told[place]["right"] for place in both)
    middle, half = paired_difference(gained, lost, len(both))
    low, high = middle - half, middle + half
    figures = (
        Figure(name="n", value=len(both)),
        Figure(name="right", value=sum(told[place]["right"] for place in both)),
        Figure(name="right by the other", value=sum(others[place]["right"] for place in both)),
        Figure(name="discordant", value=gained + lost),
        Figure(name="difference", value=(gained - lost) / len(both), low=low, high=high),
        Figure(name="margin", value=MARGIN),
    )
    if low >= -MARGIN and high <= MARGIN:
        return Judgement(status=Status.PASS, figures=figures)
    status = Status.FAIL if low > MARGIN or high < -MARGIN else Status.INCONCLUSIVE
    problem = f"difference of the shares right: expected within ±{MARGIN:.0%}, found {low:+.1%} to {high:+.1%}"
    return Judgement(status=status, figures=figures, problems=(problem,))


def paired_difference(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Return the middle and half the width of the interval of a paired difference of shares.

    Wald's interval after adding half a pair to each of the four cells (Agresti and Min, 2005), which also holds when
    no pair is discordant.
    """
    total = n + 2
    difference = (gained - lost) / total
    error = math.sqrt(max(0.0, gained + lost + 1 - total * difference**2)) / total
    return difference, NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * error


@check(
    "Q04",
    title="Both targets are right equally often at a task, to 5 points",
    clause="bellhousing.v1.Inference.Generate",
    profile="equivalence",
    tier="full",
    needs=("text", "sampling.max_tokens", "sampling.temperature"),
    paired=True,
    judge=comparing(compare),
    statistic="difference of paired shares; two one-sided tests at 5 %: Agresti and Min's 90 % interval in ±5 points",
    finds="a difference of 9 points at 200 items of which a tenth differ",
    seconds=240,
)
async def task_is_done_equally_well(probe: Probe) -> None:
    """Give both the same items, greedily: sums, copying, brackets and spelling, or those of `--task-file`."""
    items = (
        read_items(probe.task_file)
        if probe.task_file
        else made_items(probe.random, probe.size(smoke=120, standard=200))
    )
    requests = [probe.request(item.prompt, max_tokens=_room(item.answer), temperature=0.0) for item in items]
    runs = await probe.run_all(requests, at_once=AT_ONCE)
    for place, (item, run) in enumerate(zip(items, runs, strict=True)):
        right = item.is_right(run.text())
        probe.observe("answer", place=place, prompt=item.prompt, expected=item.answer, found=run.text(), right=right)


def _room(answer: str) -> int:
    """Return enough tokens for an answer, even for a tokenizer of bytes, and for white space before it."""
    return len(answer.encode()) + 2
