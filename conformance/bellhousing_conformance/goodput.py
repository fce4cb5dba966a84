"""The most requests a second that a target serves within its objectives, found by bisection.

Each step is a load of its own. It *holds* when the load is VALID and the whole interval of its share of good requests
is at least the least attainment; it *misses* when the whole interval is below. A load that is INVALID or undecided is
sent anew, at most `TRIES` times in all; the confidence of each try is such that all tries together have 95 %. A step
that stays undecided ends the search: nothing is tried until it comes out well.

A target that is overloaded is never steady. So the gates of steadiness keep a load from holding, not from missing.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from bellhousing_conformance.loads import STEADINESS, Load
from bellhousing_conformance.slo import SHARE_OF_GOOD, Slo, judged_attainment
from bellhousing_conformance.verdict import Figure, Frozen, Status

TRIES = 3
CONFIDENCE = 1 - 0.05 / TRIES
GROWTH = 1.6
LEAST_SECONDS = 12.0
MARGIN = 1.3
"""Requests of a step, over the fewest that could decide it: some may be bad, and neighbours depend on each other."""

NULL_FLOOR = "null floor"
"""A gate that has nothing to compare with where no request ended well."""

Outcome = Literal["holds", "misses", "undecided"]


class Try(Frozen):
    """One load: requests a second as offered, and what it came to. `reasons` tell why it did not decide."""

    rate: float
    outcome: Outcome
    share: float = 0.0
    low: float = 0.0
    high: float = 1.0
    n: int = 0
    reasons: tuple[str, ...] = ()


class Limits(Frozen):
    """How long a search may be: it ends when the rates around the answer are within `resolution` of each other."""

    start: float
    resolution: float = 0.15
    most_loads: int = 10


class Bracket(Frozen):
    """What the tries say: the highest rate that holds, and the lowest that misses; None where there is none."""

    held: Try | None = None
    missed: Try | None = None

    @property
    def figure(self) -> Figure:
        """Good requests a second: those of the highest rate that holds, with its bound, below the rate that misses."""
        value, low = (self.held.rate * self.held.share, self.held.rate * self.held.low) if self.held else (0.0, 0.0)
        high = self.missed.rate if self.missed else None
        return Figure(name="goodput, good requests/s", value=value, low=low, high=high)


def decided(load: Load, rate: float, slo: Slo, confidence: float = CONFIDENCE) -> Try:
    """Return what a load says of its rate."""
    of_target = STEADINESS if any(row.is_ok for row in load.measured) else (*STEADINESS, NULL_FLOOR)
    of_sender = [reason for name, reason in load.missed.items() if name not in of_target]
    unsteady = [reason for name, reason in load.missed.items() if name in of_target]
    judged = judged_attainment(slo, load.measured, confidence)
    outcome: Outcome = "undecided"
    if not of_sender and judged.status is Status.FAIL:
        outcome = "misses"
    elif not of_sender and not unsteady and judged.status is Status.PASS:
        outcome = "holds"
    reasons = (*of_sender, *unsteady, *judged.problems) if outcome == "undecided" else ()
    share = next((f for f in judged.figures if f.name == SHARE_OF_GOOD), None)
    if share is None or share.low is None or share.high is None:
        return Try(rate=rate, outcome="undecided", reasons=reasons)
    return Try(
        rate=rate,
        outcome=outcome,
        share=share.value,
        low=share.low,
        high=share.high,
        n=len(load.measured),
        reasons=reasons,
    )


def bracket(tries: Sequence[Try]) -> Bracket:
    """Return the rates around the answer."""
    held = [each for each in tries if each.outcome == "holds"]
    missed = [each for each in tries if each.outcome == "misses"]
    return Bracket(
        held=max(held, key=lambda each: each.rate, default=None),
        missed=min(missed, key=lambda each: each.rate, default=None),
    )


def following(tries: Sequence[Try], limits: Limits) -> float | None:
    """Return the rate to offer next; None when the search has ended, or must because a step stays undecided."""
    if len(tries) >= limits.most_loads or is_stuck(tries):
        return None
    if tries and tries[-1].outcome == "undecided":
        return tries[-1].rate
    around = bracket(tries)
    if around.held is None and around.missed is None:
        return limits.start
    if around.missed is None:
        return tries[-1].rate * GROWTH
    if around.held is None:
        return around.missed.rate / 2
    if around.missed.rate <= around.held.rate * (1 + limits.resolution):
        return None
    return math.sqrt(around.held.rate * around.missed.rate)


def is_stuck(tries: Sequence[Try]) -> bool:
    """Tell whether the last step was tried as often as it may be and is still undecided."""
    last = tries[-TRIES:]
    return len(last) == TRIES and all(each.outcome == "undecided" for each in last)


def is_undecided(tries: Sequence[Try]) -> bool:
    """Tell whether a search ended at a step that was not decided."""
    return not tries or tries[-1].outcome == "undecided"


def seconds_of(rate: float, slo: Slo, least: float = LEAST_SECONDS) -> float:
    """Return how long a load must be for its interval to be able to decide."""
    from scipy.stats import norm

    share, z = slo.least_attainment, float(norm.ppf(0.5 + CONFIDENCE / 2))
    return max(least, MARGIN * z * z * share / (1 - share) / rate)  # Wilson's lower end of n successes in n


async def search(
    send: Callable[[float, int], Awaitable[Load]],
    slo: Slo,
    limits: Limits,
    told: Callable[[Sequence[Try]], None] = lambda _: None,
) -> list[Try]:
    """Search with `send`, which gets a rate and the number of the load; `told` hears of all tries after each."""
    tries: list[Try] = []
    while (rate := following(tries, limits)) is not None:
        tries.append(decided(await send(rate, len(tries)), rate, slo))
        told(tries)
    return tries
