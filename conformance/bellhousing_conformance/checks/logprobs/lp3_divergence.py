"""LP3: the target's distribution is the reference's, to the precision of its weights."""

from collections import defaultdict

from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import NEEDS, observe_places
from bellhousing_conformance.divergence import divergence, mean_interval
from bellhousing_conformance.precision import tier_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Pass when the upper bound of the mean divergence is within the tier, fail when even the lower one is not."""
    groups: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "place":
            groups[row["prompt"]].append(divergence(row["reference"], row["told"]))
    precision = next((row["precision"] for row in rows if row["kind"] == "precision"), "")
    tier = tier_of(precision)
    if not groups or tier is None:
        problem = f"precision {precision!r} has no tier" if groups else "no place was told"
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    mean, low, high = mean_interval(list(groups.values()))
    figures = (
        Figure(name="n", value=sum(map(len, groups.values()))),
        Figure(name="n_eff", value=len(groups)),
        Figure(name="mean divergence in nats", value=mean, low=low, high=high),
        Figure(name="bound in nats", value=tier.divergence),
    )
    if high <= tier.divergence:
        return Judgement(status=Status.PASS, figures=figures)
    status = Status.FAIL if low > tier.divergence else Status.INCONCLUSIVE
    wanted = f"expected at most {tier.divergence:g} nats ({tier.name})"
    problem = f"mean divergence: {wanted}, found {mean:.3g}, at most {high:.3g}"
    return Judgement(status=status, figures=figures, problems=(problem,))


@check(
    "LP3",
    title="The mean KL divergence from the reference is within the tier of the weights' precision",
    clause="bellhousing.v1.TokenLogprob.logprob",
    profile="logprobs",
    tier="standard",
    needs=NEEDS,
    reference=True,
    judge=judge,
    statistic="KL over the told tokens and the rest, a lower bound; one-sided 95 % bootstrap over prompts",
    finds="a mean divergence above the tier by more than the width of the interval",
    seconds=240,
)
async def distribution_is_the_references(probe: Probe) -> None:
    """Compare the distributions at every place of outputs of the target."""
    await observe_places(probe, probe.size(smoke=128, standard=192, full=1024))
