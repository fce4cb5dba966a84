"""D02: another seed gives another output."""

from collections import Counter

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import SEED_LIMIT, Probe
from bellhousing_conformance.stats import wilson
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST_SHARE = 0.95
LENGTH = 24
HIGH_BIT = 1 << 16
"""Seeds that differ in it alone are the same to an engine that keeps 16 bits of them."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Require that the share of pairs that differ is at least `LEAST_SHARE`; name the kinds of those that do not."""
    pairs = [row for row in rows if row["kind"] == "pair"]
    if not pairs:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no pair was drawn",))
    same = [row for row in pairs if row["texts"][0] == row["texts"][1]]
    share = 1 - len(same) / len(pairs)
    low, high = wilson(len(pairs) - len(same), len(pairs))
    figures = (
        Figure(name="n", value=len(pairs)),
        Figure(name="share of pairs that differ", value=share, low=low, high=high),
    )
    if share >= LEAST_SHARE:
        return Judgement(status=Status.PASS, figures=figures)
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(row["seeds"] for row in same).items())
    problem = (
        f"share of pairs of seeds that differ: expected at least {LEAST_SHARE:g}, found {share:.2f}; equal: {kinds}"
    )
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "D02",
    title="Different seeds give different outputs: random pairs, neighbours, and pairs that differ in a high bit alone",
    clause="bellhousing.v1.Sampling.seed",
    profile="determinism",
    tier="standard",
    needs=("sampling.seed", "sampling.temperature", "sampling.max_tokens"),
    judge=judge,
    statistic=f"share of pairs whose outputs differ, at least {LEAST_SHARE:g}, with Wilson's interval",
    finds="a kind of pairs, a third of all, whose outputs are the same",
    seconds=240,
)
async def different_seeds_differ(probe: Probe) -> None:
    """Draw pairs hot enough that chance never makes two outputs alike."""
    others = {
        "random": lambda seed: (seed + probe.random.randrange(1, SEED_LIMIT)) % SEED_LIMIT,
        "neighbours": lambda seed: seed ^ 1,
        "in a high bit": lambda seed: seed ^ HIGH_BIT,
    }
    for number in range(probe.size(smoke=12, standard=40)):
        kind = list(others)[number % len(others)]
        seed, prompt = probe.seed(), probe.prompt()
        pair = [
            probe.request(prompt, max_tokens=LENGTH, temperature=1.2, seed=each) for each in (seed, others[kind](seed))
        ]
        runs = await probe.run_all(pair, at_once=2)
        probe.observe("pair", seeds=kind, texts=[run.text() for run in runs])
