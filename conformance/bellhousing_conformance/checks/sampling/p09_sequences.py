"""P09: whole sequences are distributed as the model says."""

from bellhousing.requests import Sampling
from bellhousing_conformance.check import check
from bellhousing_conformance.discrepancy import discrepancy
from bellhousing_conformance.oracles import Oracle
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LENGTH = 6
AT_ONCE = 8


def judge(rows: Rows, alpha: float) -> Judgement:
    """Test the prompts together, exchanging sequences of one prompt only."""
    prompts = [row for row in rows if row["kind"] == "prompt"]
    if not prompts:
        return Judgement(status=Status.INCONCLUSIVE, problems=("nothing was drawn",))
    pairs = [(row["target"], row["reference"]) for row in prompts]
    found = discrepancy(pairs, LENGTH, seed=prompts[0]["seed"], alpha=alpha, neighbours=True)
    reference = prompts[0]["from"]
    figures = (
        Figure(name="prompts", value=len(prompts)),
        Figure(name="n", value=sum(len(row["target"]) for row in prompts)),
        Figure(name="squared discrepancy", value=found.value),
        Figure(name="p", value=found.p_value),
        Figure(name="minimum detectable squared discrepancy", value=found.minimum_effect),
    )
    if found.p_value >= alpha:
        return Judgement(status=Status.PASS, figures=figures)
    wanted = f"expected one distribution (p at least {alpha:.2g})"
    problem = f"sequences against {reference}: {wanted}, found p {found.p_value:.2g}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "P09",
    title="Sequences are distributed as those of the exact model, or as those drawn token by token",
    clause="bellhousing.v1.Inference.Generate",
    profile="sampling",
    tier="standard",
    needs=("sampling.temperature", "sampling.max_tokens", "token_ids", "tokenize"),
    judge=judge,
    statistic="maximum mean discrepancy of sequences, permutation test within prompts",
    two_stage=True,
    finds="the squared discrepancy printed: sequences that are not independent, gross errors of their distribution",
    seconds=400,
)
async def sequences_follow_the_model(probe: Probe) -> None:
    """Draw sequences whole, and as many from the reference.

    That is the exact model where there is one. Elsewhere it is the target itself, asked for one token at a time: by the
    chain rule both are the same distribution, unless a sequence's state changes it.
    """
    size = probe.size(smoke=60, standard=32, full=40)
    for _ in range({"smoke": 2, "standard": 4, "full": 25}[probe.tier]):
        prompt = probe.prompt()
        requests = [probe.request(prompt, max_tokens=LENGTH, temperature=1.0) for _ in range(size)]
        target = [run.ids() for run in await probe.run_all(requests, at_once=AT_ONCE)]
        if probe.oracle is not None:
            name, reference = "the exact model", [_drawn(probe, probe.oracle, prompt) for _ in range(size)]
        else:
            name, reference = "draws of one token at a time", await _stepwise(probe, prompt, size)
        probe.observe("prompt", target=target, reference=reference, seed=probe.seed(), **{"from": name})


def _drawn(probe: Probe, oracle: Oracle, prompt: str) -> list[int]:
    """Return a sequence from the exact model."""
    context, ends, drawn = list(oracle.ids(prompt)), set(probe.model.eos_token_ids), list[int]()
    for _ in range(LENGTH):
        odds = oracle.probabilities([*context, *drawn], Sampling(temperature=1.0))
        token = probe.random.choices(list(odds), list(odds.values()))[0]
        if token in ends:
            break
        drawn.append(token)
    return drawn


async def _stepwise(probe: Probe, prompt: str, count: int) -> list[list[int]]:
    """Return sequences of which each token is a request of its own."""
    start = await probe.tokenize(prompt)
    drawn: list[list[int]] = [[] for _ in range(count)]
    running = list(range(count))
    for _ in range(LENGTH):
        requests = [probe.request([*start, *drawn[each]], max_tokens=1, temperature=1.0) for each in running]
        runs = await probe.run_all(requests, at_once=AT_ONCE)
        for each, run in zip(running, runs, strict=True):
            drawn[each] += run.ids()
        running = [each for each, run in zip(running, runs, strict=True) if run.ids()]
    return drawn
