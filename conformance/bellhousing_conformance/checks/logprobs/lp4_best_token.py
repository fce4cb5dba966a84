"""LP4: the target's most probable token is the reference's."""

import math

from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import NEEDS, observe_places
from bellhousing_conformance.divergence import share_interval
from bellhousing_conformance.precision import FOUR_BITS, tier_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

TIE = 1e-3
"""Nats: tokens nearer than this to a side's best one are as good, on the target's side and on the reference's."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Pass when the lower bound of the share reaches the tier, fail when even the upper one does not."""
    places = [row for row in rows if row["kind"] == "place"]
    precision = next((row["precision"] for row in rows if row["kind"] == "precision"), "")
    tier = tier_of(precision)
    if not places or tier is None:
        problem = f"precision {precision!r} has no tier" if places else "no place was told"
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    agreed = sum(map(_agrees, places))
    low, high = share_interval(agreed, len(places))
    figures = (
        Figure(name="n", value=len(places)),
        Figure(name="share with the same best token", value=agreed / len(places), low=low, high=high),
        Figure(name="least share", value=tier.agreement),
    )
    if low >= tier.agreement:
        return Judgement(status=Status.PASS, figures=figures)
    status = Status.FAIL if high < tier.agreement else Status.INCONCLUSIVE
    problem = f"same best token: expected in {tier.agreement:.1%} ({tier.name}), found {agreed} of {len(places)}"
    return Judgement(status=status, figures=figures, problems=(problem,))


def _agrees(row: Row) -> bool:
    told, reference = row["told"], row["reference"]
    least = max(told.values()) - TIE
    best = [token for token, logprob in told.items() if logprob >= least]
    return any(reference.get(token, -math.inf) >= row["best_logprob"] - TIE for token in best)


@check(
    "LP4",
    title="The most probable token is the reference's, as often as the tier of the weights' precision asks",
    clause="bellhousing.v1.TopLogprob",
    profile="logprobs",
    tier="standard",
    needs=NEEDS,
    reference=True,
    judge=judge,
    statistic="share of places, ties within 0.001 nat counted as agreement; one-sided 95 % Wilson bounds",
    finds="a share below the tier by more than the width of the interval",
    seconds=240,
)
async def best_token_is_the_references(probe: Probe) -> None:
    """Compare the best tokens at enough places for the tier: the stricter it is, the more of them it takes."""
    agreement = (tier_of(probe.model.precision) or FOUR_BITS).agreement
    least = math.ceil(4 / (1 - agreement))  # a bound by Wilson's score of a perfect sample reaches it with 2.7/(1-a)
    await observe_places(probe, max(least, probe.size(smoke=128, standard=320, full=1024)), alternatives=2)
