"""Q02: both targets tell the same distributions, to the precision of the coarser weights."""

from bellhousing_conformance.against import comparing
from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import told_by
from bellhousing_conformance.divergence import divergence, mean_interval
from bellhousing_conformance.precision import looser, tier_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.texts import beginning_of
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

ALTERNATIVES = 20
AT_ONCE = 4


def compare(target: Rows, other: Rows, _alpha: float) -> Judgement:
    """Pass when the upper bound of the mean divergence is within the tier, fail when even the lower one is not."""
    tiers = [tier_of(row["precision"]) for row in (*target, *other) if row["kind"] == "precision"]
    known = [tier for tier in tiers if tier is not None]
    told, others = ({row["place"]: row["told"] for row in side if row["kind"] == "place"} for side in (target, other))
    both = sorted(told.keys() & others.keys())
    if len(known) < len(tiers) or not both:
        problem = "no context was told of by both" if known else "a precision has no tier"
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    tier = looser(*known)
    mean, low, high = mean_interval([[divergence(others[place], told[place])] for place in both])
    figures = (
        Figure(name="n", value=len(both)),
        Figure(name="mean divergence in nats", value=mean, low=low, high=high),
        Figure(name="bound in nats", value=tier.divergence),
    )
    if high <= tier.divergence:
        return Judgement(status=Status.PASS, figures=figures)
    wanted = f"expected at most {tier.divergence:g} nats ({tier.name})"
    problem = f"mean divergence: {wanted}, found {mean:.3g}, between {low:.3g} and {high:.3g}"
    status = Status.FAIL if low > tier.divergence else Status.INCONCLUSIVE
    return Judgement(status=status, figures=figures, problems=(problem,))


@check(
    "Q02",
    title="The mean KL divergence between both targets is within the tier of the coarser precision",
    clause="bellhousing.v1.TokenLogprob.logprob",
    profile="equivalence",
    tier="standard",
    needs=("text", "logprobs.top", "token_ids", "sampling.max_tokens", "sampling.temperature"),
    paired=True,
    judge=comparing(compare),
    statistic="KL over the tokens that both tell and the rest, a lower bound; one-sided 95 % bootstrap over contexts",
    finds="a mean divergence above the tier by more than the width of the interval",
    seconds=120,
)
async def distributions_are_equal(probe: Probe) -> None:
    """Ask for the distribution of one token, after contexts that both are given. End tokens are not delivered."""
    probe.observe("precision", precision=probe.model.precision)
    texts = [
        f"{probe.prompt()}. {beginning_of(probe.random)}" for _ in range(probe.size(smoke=24, standard=64, full=400))
    ]
    requests = [
        probe.request(text, max_tokens=1, temperature=1.0, logprobs=probe.alternatives(ALTERNATIVES)) for text in texts
    ]
    for place, run in enumerate(await probe.run_all(requests, at_once=AT_ONCE)):
        for entry in run.logprobs():
            told = told_by(entry)
            best = sorted(told, key=lambda key: -told[key])[:ALTERNATIVES]
            probe.observe("place", place=place, told={key: told[key] for key in best})
