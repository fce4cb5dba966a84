"""LP5: a token has the same log probability whether it is decoded or prefilled."""

from bellhousing.client.arguments import GenerateArguments
from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import told_by
from bellhousing_conformance.precision import tier_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TOKENS = 24
STEP = 2
"""Without prompt_logprobs every place takes a request; every STEP-th one is looked at."""

LEAST = 8
"""Fewer tokens decide nothing."""

MOST_TRIES = 12
"""Prompts that are tried for each that the sample needs: an output may end at once, and those of two may part."""

SEED = 1
"""The same for both prompts, so that they draw alike."""

PERCENTILE = 0.99


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Bound the 99th percentile of the differences; in a sample below 100 that is the largest one."""
    deltas = sorted(abs(row["decode"] - row["prefill"]) for row in rows if row["kind"] == "token")
    precision = next((row["precision"] for row in rows if row["kind"] == "precision"), "")
    tier = tier_of(precision)
    if len(deltas) < LEAST or tier is None:
        few = f"expected at least {LEAST} tokens that are told twice, found {len(deltas)}"
        problem = few if tier else f"precision {precision!r} has no tier"
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
    seconds=240,
)
async def decode_is_prefill(probe: Probe) -> None:
    """Give an output back as a prompt: with prompt_logprobs, or place by place."""
    probe.observe("precision", precision=probe.model.precision)
    size = probe.size(smoke=2, standard=4, full=16)
    is_whole = probe.supports("logprobs.prompt_top")
    observe, wanted = (_whole, TOKENS * size) if is_whole else (_place_by_place, LEAST * size)
    for _ in range(MOST_TRIES * size):
        await observe(probe)
        if sum(row["kind"] == "token" for row in probe.rows) >= wanted:
            return


async def _whole(probe: Probe) -> None:
    text = probe.prompt()
    prompt = await probe.tokenize(text)
    run = await probe.generate(text, max_tokens=TOKENS, temperature=1.0, logprobs=1)
    told = [entry.logprob for entry in run.logprobs()]
    if len(told) != run.tokens() or len(run.ids()) != run.tokens():
        return  # LP1 judges that
    run = await probe.generate([*prompt, *run.ids()], max_tokens=1, prompt_logprobs=0)
    entries = [entry.logprob for delta in run.deltas() for entry in delta.prompt_logprobs]
    if not entries:  # the end token came first: no delta could carry them
        return
    for decoded, prefilled in zip(reversed(told), reversed(entries), strict=False):
        probe.observe("token", decode=decoded, prefill=prefilled)


async def _place_by_place(probe: Probe) -> None:
    """Prefill a prompt with an output that another prompt gave; then let it decode, as far as it gives the same.

    A prefix cache keeps what was decoded, and a prefill afterwards would compute nothing. So the prefills come first,
    the longest before the others. The output is of a prompt which differs in its number alone, and so begins alike.
    """
    subject = probe.prompt().partition(". ")[2]
    guess = await _decoded(probe, f"Note {probe.random.randrange(10**9)}. {subject}")
    text = f"Note {probe.random.randrange(10**9)}. {subject}"
    prompt = await probe.tokenize(text)
    prefilled: dict[int, dict[str, float]] = {}
    for place in reversed(range(STEP, len(guess), STEP)):
        context = [*prompt, *(token for token, _ in guess[:place])]
        run = await probe.generate(
            context, max_tokens=1, temperature=_temperature(probe), logprobs=probe.alternatives(20)
        )
        told = [told_by(entry) for entry in run.logprobs()]
        if told:
            prefilled[place] = told[0]
    decoded = await _decoded(probe, text)
    for place, (token, logprob) in enumerate(decoded):
        if [each for each, _ in guess[:place]] != [each for each, _ in decoded[:place]]:
            return
        if str(token) in prefilled.get(place, {}):
            probe.observe("token", place=place, decode=logprob, prefill=prefilled[place][str(token)])


async def _decoded(probe: Probe, text: str) -> list[tuple[int, float]]:
    """Return the tokens of an output, each with its log probability; none when some are missing, which LP1 judges."""
    arguments: GenerateArguments = {"max_tokens": TOKENS, "temperature": _temperature(probe), "logprobs": 1}
    if probe.supports("sampling.seed"):
        arguments["seed"] = SEED
    run = await probe.generate(text, **arguments)
    told = [(entry.id, entry.logprob) for entry in run.logprobs()]
    return told if [token for token, _ in told] == run.ids() else []


def _temperature(probe: Probe) -> float:
    """Return the temperature at which two prompts go on alike for longest.

    Log probabilities after sampling's steps are those of the model at temperature 1 alone; the seed is the same then.
    """
    return 0.0 if probe.model.capabilities.logprobs_mode == discovery_pb2.LOGPROBS_MODE_RAW else 1.0
