"""T01: the model over several ranks is the model on one."""

import asyncio
from collections.abc import Mapping, Sequence

from bellhousing_conformance.against import OtherFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.divergence import mean_interval
from bellhousing_conformance.first_token import conditional_kl, first_logprobs
from bellhousing_conformance.precision import tier_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST = 3


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Pass when the upper bound of the mean KL is within the tier, fail when even the lower one is not."""
    told = [row for row in rows if row["kind"] == "distributions"]
    tier = tier_of(told[0]["precision"]) if told else None
    if len(told) < LEAST or tier is None:
        lacking = "less than three distributions" if len(told) < LEAST else "a precision without a tier"
        return Judgement(status=Status.INCONCLUSIVE, problems=(f"{lacking} was told",))
    mean, low, high = mean_interval([[conditional_kl(row["reference"], row["found"])] for row in told])
    figures = (
        Figure(name="n", value=len(told)),
        Figure(name="mean KL in nats", value=mean, low=low, high=high),
        Figure(name="bound in nats", value=tier.divergence),
    )
    if high <= tier.divergence:
        return Judgement(status=Status.PASS, figures=figures)
    wanted = f"expected at most {tier.divergence:g} nat ({tier.name})"
    problem = f"mean KL from the model on one device: {wanted}, found {mean:.3g}, between {low:.3g} and {high:.3g}"
    status = Status.FAIL if low > tier.divergence else Status.INCONCLUSIVE
    return Judgement(status=status, figures=figures, problems=(problem,))


async def along(probe: Probe, prompt: str, output: Sequence[int]) -> Sequence[Mapping[int, float]]:
    """Return the log probabilities on one device at each place of an output.

    Raises `RuntimeError` without a reference, and `OtherFailed` when it makes other tokens of the prompt.
    """
    known = probe.reference
    if known is None:
        raise RuntimeError("the check should be declared with reference=True")
    ids = list(await asyncio.to_thread(known.ids, prompt))
    if probe.supports("tokenize") and ids != await probe.tokenize(prompt):
        raise OtherFailed("the reference makes other tokens of a prompt than the target: it is another model")
    return await asyncio.to_thread(known.along, ids, output)


@check(
    "T01",
    title="Over tensor-parallel ranks the distributions are those of one device, within the precision's tier",
    clause="bellhousing.v1.Parallelism.tensor_effective",
    profile="tensor-parallel",
    needs=("tensor_parallel", "logprobs.top", "sampling.max_tokens", "token_ids"),
    judge=judge,
    statistic="mean KL of the first token; one-sided 95 % bootstrap over prompts",
    finds="a mean KL above the precision's tier by more than the width of the interval",
    tier="standard",
    reference=True,
)
async def the_distributions_are_those_of_one_device(probe: Probe) -> None:
    """Compare first tokens after many prompts with the reference."""
    precision = probe.model.precision
    for _ in range(probe.size(smoke=6, standard=40)):
        prompt = probe.prompt()
        found = await first_logprobs(probe, prompt)
        if not found:
            continue
        first = (await along(probe, prompt, [int(next(iter(found)))]))[0]
        known = {str(token): value for token, value in first.items()}
        probe.observe("distributions", reference=known, found=found, precision=precision)
