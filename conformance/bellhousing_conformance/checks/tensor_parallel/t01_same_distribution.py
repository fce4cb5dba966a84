"""T01: the model over several ranks is the model on one."""

import asyncio
import math
from collections.abc import Mapping, Sequence

from bellhousing_conformance.against import OtherFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.first_token import conditional_kl, first_logprobs
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TIERS = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 1e-3, "float16": 1e-3}
QUANTISED = 6e-2


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the upper 95 % bound of the mean KL from the model on one device, by Student's t, against its tier."""
    from scipy.stats import t

    told = [row for row in rows if row["kind"] == "distributions"]
    values = [conditional_kl(row["reference"], row["found"]) for row in told]
    if len(values) < 3:
        return Judgement(status=Status.INCONCLUSIVE, problems=("fewer than three distributions were told",))
    n, mean = len(values), math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    high, most = mean + float(t.ppf(0.95, n - 1)) * spread, told[0]["most"]
    figures = (Figure(name="n", value=n), Figure(name="mean KL, nats", value=mean, low=0.0, high=high))
    if high <= most:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"mean KL from the model on one device: expected at most {most:g} nat, found {mean:.3g} (to {high:.3g})"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


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
    statistic="mean KL of the first token over prompts, upper 95 % bound",
    finds="a mean KL above the tier: 1e-5 float32, 1e-3 bfloat16, 6e-2 with 4 bits",
    tier="standard",
    reference=True,
)
async def the_distributions_are_those_of_one_device(probe: Probe) -> None:
    """Compare first tokens after many prompts with the reference."""
    most = TIERS.get(probe.model.precision.lower(), QUANTISED)
    for _ in range(probe.size(smoke=6, standard=40)):
        prompt = probe.prompt()
        found = await first_logprobs(probe, prompt)
        if not found:
            continue
        first = (await along(probe, prompt, [int(next(iter(found)))]))[0]
        known = {str(token): value for token, value in first.items()}
        probe.observe("distributions", reference=known, found=found, most=most)
