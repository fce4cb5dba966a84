"""P02: draws follow softmax(logits / temperature)."""

import math
from collections import Counter
from functools import partial

from bellhousing_conformance.check import check
from bellhousing_conformance.judges import together
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import g_test, scale_test
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

PROMPT = "My favourite word begins with the letter"
TEMPERATURES = {"smoke": (0.7,), "standard": (0.7, 1.0, 1.3), "full": (0.7, 1.0, 1.3)}
ALTERNATIVES = 40
MOST_CHANGE = 0.2
"""A sample that would not show a temperature so far off decides nothing."""


def judge(rows: Rows, alpha: float) -> Judgement:
    """Test each temperature, twice, at a share of the level (Bonferroni): all odds, and the power of the odds.

    The test is conditional on the tokens whose log probabilities are known: among them the odds are
    exp((a - b) / temperature), whatever the others are.
    """
    models = [row for row in rows if row["kind"] == "model"]
    if not models:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no distribution was told",))
    return together(*(_judge_one(model, rows, alpha / len(models)) for model in models))


def _judge_one(model: Row, rows: Rows, alpha: float) -> Judgement:
    temperature, logprobs = model["temperature"], model["logprobs"]
    best = max(logprobs.values())
    odds = {int(token): math.exp((value - best) / temperature) for token, value in logprobs.items()}
    drawn = [row["id"] for row in rows if row["kind"] == "draw" and row["temperature"] == temperature]
    counts = Counter(token for token in drawn if token in odds)
    name = f"T={temperature:g}"
    try:
        test, scale = g_test(counts, odds, alpha / 2), scale_test(counts, odds, alpha / 2)
    except ValueError as error:
        return Judgement(status=Status.INCONCLUSIVE, problems=(f"{name}: {error}",))
    figures = (
        Figure(name=f"{name} n", value=len(drawn)),
        Figure(name=f"{name} n_eff", value=test.n),
        Figure(name=f"{name} G", value=test.statistic),
        Figure(name=f"{name} p", value=test.p_value),
        Figure(name=f"{name} p of the power", value=scale.p_value),
        Figure(name=f"{name} minimum detectable w", value=test.minimum_effect),
        Figure(name=f"{name} minimum detectable change", value=scale.minimum_change),
    )
    least = min(test.p_value, scale.p_value)
    if least < alpha / 2:
        problem = f"{name}: expected p at least {alpha / 2:.2g}, found {least:.2g} (G {test.statistic:.1f}, n {test.n})"
        return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))
    if scale.minimum_change > MOST_CHANGE:
        told = f"{name}: {test.n} draws would not show a temperature {MOST_CHANGE:.0%} off"
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(told,))
    return Judgement(status=Status.PASS, figures=figures)


@check(
    "P02",
    title="Draws follow softmax(logits / temperature)",
    clause="bellhousing.v1.Sampling.temperature",
    profile="sampling",
    needs=("sampling.temperature", "sampling.seed", "sampling.max_tokens", "logprobs.top", "token_ids"),
    judge=judge,
    statistic="G-test, and score test of the power, of one-token draws among the tokens told; Bonferroni over all",
    two_stage=True,
    tier="standard",
    finds="the change of temperature printed: about 10 % at 1,500 draws, 6 % at 5,000",
    seconds=240,
)
async def draws_follow_the_temperature(probe: Probe) -> None:
    """Draw after one prompt, from the exact model where there is one, else from what the target says it is."""
    logprobs = await _known(probe)
    for temperature in filter(partial(probe.allows, "sampling.temperature"), TEMPERATURES[probe.tier]):
        probe.observe("model", temperature=temperature, logprobs=logprobs)
        count = probe.size(smoke=1000, standard=1500, full=5000)
        for token in await probe.draws(count, PROMPT, temperature=temperature):
            probe.observe("draw", temperature=temperature, id=token)


async def _known(probe: Probe) -> dict[str, float]:
    """Return log probabilities by token id, without the end tokens, which are not delivered."""
    ends = set(probe.model.eos_token_ids)
    if probe.oracle is not None:
        exact = probe.oracle.logprobs(probe.oracle.ids(PROMPT))
        return {str(token): value for token, value in exact.items() if token not in ends}
    # At temperature 1 without filters, log probabilities before and after sampling's steps are the same.
    run = await probe.generate(
        PROMPT, max_tokens=1, temperature=1.0, logprobs=probe.alternatives(ALTERNATIVES), seed=probe.seed()
    )
    top = [entry for each in run.logprobs() for entry in each.top]
    return {str(entry.id): entry.logprob for entry in top if entry.id not in ends}
