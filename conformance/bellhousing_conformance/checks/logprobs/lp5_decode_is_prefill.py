"""LP5: a token has the same log probability whether it is decoded or prefilled."""

from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import told_by
from bellhousing_conformance.precision import tier_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TOKENS = 24
STEP = 4
"""Without prompt_logprobs every place takes a request; every STEP-th one is looked at."""

PERCENTILE = 0.99


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Bound the 99th percentile of the differences; in a sample below 100 that is the largest one."""
    deltas = sorted(abs(row["decode"] - row["prefill"]) for row in rows if row["kind"] == "token")
    precision = next((row["precision"] for row in rows if row["kind"] == "precision"), "")
    tier = tier_of(precision)
    if not deltas or tier is None:
        cached = sum(row["kind"] == "cached" for row in rows)
        reason = f"{cached} contexts came from the prefix cache" if cached else "no token was told twice"
        problem = f"precision {precision!r} has no tier" if deltas else reason
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    found = deltas[min(len(deltas) - 1, int(PERCENTILE * len(deltas)))]
    figures = (
        Figure(name="n", value=len(deltas)),
        Figure(name="p99 of the difference in nats", value=found),
        Figure(name="bound in nats", value=tier.delta),
    )
    if found <= tier.delta:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"p99 of |decode - prefill|: expected at most {tier.delta:g} nats ({tier.name}), found {found:.4g}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "LP5",
    title="The log probability of a token in decode is the one in prefill of the same context",
    clause="bellhousing.v1.LogprobOptions.prompt_top",
    profile="logprobs",
    tier="standard",
    needs=("text", "token_ids", "tokenize", "logprobs.top", "sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="99th percentile of the absolute difference, in nats, against the tier of the weights' precision",
    finds="a difference above the tier in more than one token of a hundred",
    seconds=120,
)
async def decode_is_prefill(probe: Probe) -> None:
    """Give an output back as a prompt: with prompt_logprobs, or token by token.

    The second way sees nothing of a context that the prefix cache has kept from decode: such places are left out.
    """
    probe.observe("precision", precision=probe.model.precision)
    for _ in range(probe.size(smoke=2, standard=4, full=16)):
        text = probe.prompt()
        prompt = await probe.tokenize(text)
        run = await probe.generate(text, max_tokens=TOKENS, temperature=1.0, logprobs=1)
        told = [entry.logprob for delta in run.deltas() for entry in delta.logprobs]
        if len(told) != run.tokens() or len(run.ids()) != run.tokens():
            continue  # LP1 judges that
        if probe.supports("logprobs.prompt_top"):
            await _whole(probe, prompt, run.ids(), told)
        else:
            await _one_by_one(probe, prompt, run.ids(), told)


async def _whole(probe: Probe, prompt: list[int], output: list[int], told: list[float]) -> None:
    run = await probe.generate([*prompt, *output], max_tokens=1, prompt_logprobs=0)
    entries = [entry.logprob for delta in run.deltas() for entry in delta.prompt_logprobs]
    if not entries:  # the end token came first: no delta could carry them
        return
    for decoded, prefilled in zip(reversed(told), reversed(entries), strict=False):
        probe.observe("token", decode=decoded, prefill=prefilled)


async def _one_by_one(probe: Probe, prompt: list[int], output: list[int], told: list[float]) -> None:
    for place in range(STEP, len(output), STEP):
        context = [*prompt, *output[:place]]
        run = await probe.generate(context, max_tokens=1, temperature=1.0, logprobs=20)
        if run.finished.usage.cached_tokens > len(prompt):
            probe.observe("cached", context=len(context), cached=run.finished.usage.cached_tokens)
            continue
        best = [told_by(entry) for delta in run.deltas() for entry in delta.logprobs]
        if best and str(output[place]) in best[0]:
            probe.observe("token", decode=told[place], prefill=best[0][str(output[place])])
