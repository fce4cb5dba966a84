"""A02: an adapter changes the distribution, and Finished names its weights."""

import math

from bellhousing_conformance.adapters import load, registered, sources
from bellhousing_conformance.check import check
from bellhousing_conformance.first_token import conditional_kl, first_logprobs
from bellhousing_conformance.judges import DECIDERS, all_hold, together
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST_KL = 0.05


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the mean divergence of the adapter from the base model, over prompts; other rows must hold."""
    values = [conditional_kl(row["left"], row["right"]) for row in rows if row["kind"] == "distributions"]
    decided = [all_hold(rows)] if any(row["kind"] in DECIDERS for row in rows) else []
    if not values:
        return together(Judgement(status=Status.INCONCLUSIVE, problems=("no distribution was told",)), *decided)
    mean = math.fsum(values) / len(values)
    figures = (
        Figure(name="prompts", value=len(values)),
        Figure(name="mean KL(adapter || base), nats", value=mean, low=min(values), high=max(values)),
    )
    if mean > LEAST_KL:
        return together(Judgement(status=Status.PASS, figures=figures), *decided)
    problem = f"mean KL(adapter || base): expected more than {LEAST_KL}, found {mean:.3g}"
    return together(Judgement(status=Status.FAIL, figures=figures, problems=(problem,)), *decided)


@check(
    "A02",
    title="An adapter changes the distribution, and Finished tells its digest",
    clause="bellhousing.v1.GenerateRequest.adapter",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens", "logprobs.top"),
    judge=judge,
    statistic="mean KL of the next token over prompts, conditional on the tokens told by both",
    finds="an adapter that is not applied",
    tier="standard",
    alone=True,
)
async def an_adapter_has_an_effect(probe: Probe) -> None:
    """Compare the next token's distribution with and without the adapter, and two adapters with each other."""
    async with registered(probe, *sources(probe, 2)) as (first, second):
        digest = (await load(probe, first)).adapter.digest
        for _ in range(probe.size(smoke=4, standard=16)):
            prompt = probe.prompt()
            base, left, right = [await first_logprobs(probe, prompt, adapter=name) for name in ("", first, second)]
            probe.observe("distributions", left=left, right=base)
            probe.holds(left != right, "two adapters of different weights: expected different distributions")
        run = await probe.generate(adapter=first, max_tokens=1)
        probe.equal("Finished.adapter_digest", found=run.finished.adapter_digest, expected=digest)
