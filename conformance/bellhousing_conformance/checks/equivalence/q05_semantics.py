"""Q05: every sampling parameter means the same to both targets."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bellhousing_conformance.against import comparing
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import LEAST_EXPECTED, homogeneity
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TOKENS = 4
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "temperature": {"temperature": 0.5},
    "top_k": {"top_k": 3},
    "top_p": {"top_p": 0.5},
    "min_p": {"min_p": 0.3},
    "typical_p": {"typical_p": 0.5},
    "repetition_penalty": {"repetition_penalty": 2.0},
    "presence_penalty": {"presence_penalty": 2.0},
    "frequency_penalty": {"frequency_penalty": 2.0},
}
"""Each parameter alone, at temperature 1 unless it is the temperature."""

PROMPT = "one two one two one two one two one"
"""Repeats itself, so that a penalty on the prompt's tokens shows."""


def compare(target: Rows, other: Rows, alpha: float) -> Judgement:
    """Test the first tokens, and how often outputs repeat one, for each parameter; Bonferroni over all tests."""
    sides = [_features(rows) for rows in (target, other)]
    both = [key for key in sides[0] if key in sides[1]]
    lone = sorted({name for name, _ in sides[0].keys() ^ sides[1].keys()})
    if not both:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no parameter is declared by both",))
    level = alpha / len(both)
    figures, problems = [], []
    for key in both:
        found = homogeneity(sides[0][key], sides[1][key])
        name = " of ".join(reversed(key))
        figures.append(Figure(name=f"{name}: p", value=found))
        if found < level:
            problems.append(f"{name}: expected p at least {level:.2g}, found {found:.2g}")
    count = sum(sum(counts.values()) for side in sides for (_, what), counts in side.items() if what == FIRST)
    figures += [Figure(name="n", value=count), Figure(name="parameters of one side only", value=len(lone))]
    status = Status.FAIL if problems else Status.PASS
    return Judgement(status=status, figures=tuple(figures), problems=tuple(problems))


FIRST, REPEATS = "first token", "repeated tokens"


def _features(rows: Rows) -> dict[tuple[str, str], Counter[int]]:
    found: dict[tuple[str, str], Counter[int]] = {}
    for row in rows:
        if row["kind"] == "sample":
            ids = row["ids"]
            found.setdefault((row["setting"], FIRST), Counter())[ids[0] if ids else -1] += 1
            found.setdefault((row["setting"], REPEATS), Counter())[len(ids) - len(set(ids))] += 1
    return found


@check(
    "Q05",
    title="Every sampling parameter has the same effect on both targets",
    clause="bellhousing.v1.Sampling",
    profile="equivalence",
    tier="full",
    needs=("token_ids", "sampling.max_tokens", "sampling.temperature", "sampling.seed"),
    paired=True,
    judge=comparing(compare),
    statistic=f"G-test of homogeneity, outcomes rarer than {LEAST_EXPECTED:g} together; Bonferroni over parameters",
    two_stage=True,
    finds="a support that is another, or a shift of a fifth of the mass, at 256 outputs",
    seconds=600,
)
async def parameters_mean_the_same(probe: Probe) -> None:
    """Draw short outputs with each parameter that is declared."""
    for setting, arguments in SETTINGS.items():
        if not all(probe.supports(f"sampling.{name}") for name in arguments):
            continue
        given: Any = {"temperature": 1.0, "max_tokens": TOKENS, **arguments}
        for ids in await probe.samples(probe.size(smoke=64, standard=128, full=256), PROMPT, **given):
            probe.observe("sample", setting=setting, ids=ids)
