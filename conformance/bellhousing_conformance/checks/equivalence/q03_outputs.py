"""Q03: outputs of both targets come from the same distribution."""

from collections import defaultdict

from bellhousing_conformance.against import comparing
from bellhousing_conformance.check import check
from bellhousing_conformance.discrepancy import discrepancy
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.texts import beginning_of
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TOKENS = 6
SAMPLES = 48
SEED = 1
MARGIN = 0.1
"""Largest squared distance of token probabilities, relative to their own squared length, that counts as equal."""


def compare(target: Rows, other: Rows, alpha: float) -> Judgement:
    """Fail when the permutation test rejects; pass when the effect is also shown to be small."""
    sides = [_by_prompt(rows) for rows in (target, other)]
    if sides[0].keys() != sides[1].keys():
        return Judgement(status=Status.INCONCLUSIVE, problems=("the two sides were not given the same prompts",))
    try:
        pairs = [(outputs, sides[1][prompt]) for prompt, outputs in sides[0].items()]
        found = discrepancy(pairs, TOKENS, seed=SEED, alpha=alpha, neighbours=False)
    except ValueError as error:
        return Judgement(status=Status.INCONCLUSIVE, problems=(str(error),))
    figures = (
        Figure(name="n", value=found.n),
        Figure(name="n_eff", value=found.strata),
        Figure(name="effect", value=found.effect, low=found.low, high=found.high),
        Figure(name="margin", value=MARGIN),
        Figure(name="p", value=found.p_value),
    )
    if found.p_value < alpha:
        problem = f"expected p at least {alpha:g}, found {found.p_value:.2g} with an effect of {found.effect:.1%}"
        return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))
    if found.high <= MARGIN:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"expected an effect of at most {MARGIN:.0%}, found it between {found.low:.1%} and {found.high:.1%}"
    return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(problem,))


def _by_prompt(rows: Rows) -> dict[str, list[list[int]]]:
    groups: dict[str, list[list[int]]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "sample":
            groups[row["prompt"]].append(row["ids"])
    return groups


@check(
    "Q03",
    title="Sampled outputs of both targets come from the same distribution",
    clause="bellhousing.v1.Sampling.temperature",
    profile="equivalence",
    tier="full",
    needs=("token_ids", "sampling.max_tokens", "sampling.temperature", "sampling.seed"),
    paired=True,
    judge=comparing(compare),
    statistic="MMD with a kernel of equal places, stratified permutation; effect within 10 % by bootstrap over prompts",
    two_stage=True,
    finds="an effect of 10 % of the distribution's own length",
    seconds=400,
)
async def outputs_are_alike(probe: Probe) -> None:
    """Draw outputs at temperature 1 after the same prompts. Equal seeds on both sides only make a pass likelier."""
    # All prompts before any draws: how many seeds those take depends on what a side declares.
    texts = [f"{probe.prompt()}. {beginning_of(probe.random)}" for _ in range(probe.size(smoke=5, standard=8, full=16))]
    for text in texts:
        for ids in await probe.samples(SAMPLES, text, max_tokens=TOKENS, temperature=1.0):
            probe.observe("sample", prompt=text, ids=ids)
