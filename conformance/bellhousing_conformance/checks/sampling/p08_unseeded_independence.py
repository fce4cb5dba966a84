"""P08: draws without a seed are independent."""

import math
from collections import Counter

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import g_test
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

PROMPT = "My favourite word begins with the letter"
ALTERNATIVES = 40
QUARTERS = 4
AT_ONCE = 8


def judge(rows: Rows, alpha: float) -> Judgement:
    """Test that two successive draws fall into quarters of the model's probability independently.

    Pairs do not overlap, so that the sixteen cells are equally probable and the pairs independent under the model.
    """
    models = [row for row in rows if row["kind"] == "model"]
    if not models:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no distribution was told",))
    quarters = [int(QUARTERS * _place(models[0], row)) for row in rows if row["kind"] == "draw"]
    cells = Counter(QUARTERS * a + b for a, b in zip(quarters[::2], quarters[1::2], strict=False))
    try:
        test = g_test(cells, dict.fromkeys(range(QUARTERS**2), 1.0), alpha)
    except (ValueError, ZeroDivisionError) as error:
        return Judgement(status=Status.INCONCLUSIVE, problems=(str(error),))
    figures = (
        Figure(name="n", value=len(quarters)),
        Figure(name="pairs", value=test.n),
        Figure(name="G", value=test.statistic),
        Figure(name="p", value=test.p_value),
        Figure(name="minimum detectable w", value=test.minimum_effect),
    )
    if test.p_value >= alpha:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"successive unseeded draws: expected independence (p at least {alpha:.2g}), found p {test.p_value:.2g}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


def _place(model: Row, row: Row) -> float:
    """Return where a draw lies in the cumulative probabilities, spread at random over its own share.

    Tokens that are not known share what is left; an end token, which is not delivered, is at the beginning.
    """
    before, number = 0.0, float(row["number"])
    for token, logprob in [(-1, model["end"]), *model["logprobs"]]:
        share = math.exp(logprob)
        if token == row["id"]:
            return min(before + number * share, 1 - 1e-9)
        before += share
    return min(before + number * max(0.0, 1 - before), 1 - 1e-9)


@check(
    "P08",
    title="Draws without a seed are independent of each other and follow the model",
    clause="bellhousing.v1.Sampling.seed",
    profile="sampling",
    tier="standard",
    needs=("sampling.temperature", "sampling.max_tokens", "logprobs.top", "token_ids"),
    judge=judge,
    statistic="G-test of pairs of successive draws in sixteen cells of equal probability",
    two_stage=True,
    finds="a dependence of the w printed between successive requests, such as a seed from a coarse clock",
    seconds=240,
)
async def unseeded_draws_are_independent(probe: Probe) -> None:
    """Draw one token at a time, some requests at once, in the order in which they were sent."""
    told = await _logprobs(probe)
    ends = set(probe.model.eos_token_ids)
    end = math.fsum(math.exp(value) for token, value in told.items() if token in ends)
    others = sorted(((t, v) for t, v in told.items() if t not in ends), key=lambda each: -each[1])
    probe.observe("model", end=math.log(end) if end else -1e9, logprobs=others[:ALTERNATIVES])
    count = probe.size(smoke=208, standard=800)
    request = probe.request(PROMPT, max_tokens=1, temperature=1.0)
    for run in await probe.run_all([request] * count, at_once=AT_ONCE):
        ids = run.ids()
        probe.observe("draw", id=ids[0] if ids else -1, number=round(probe.random.random(), 6))


async def _logprobs(probe: Probe) -> dict[int, float]:
    """Return log probabilities by token id: at temperature 1 without filters both modes tell the same."""
    if probe.oracle is not None:
        return dict(probe.oracle.logprobs(probe.oracle.ids(PROMPT)))
    for _ in range(AT_ONCE):
        run = await probe.generate(PROMPT, max_tokens=1, temperature=1.0, logprobs=probe.alternatives(ALTERNATIVES))
        for entry in run.logprobs():
            return {top.id: top.logprob for top in entry.top}
    return {}
