"""TH3: outputs are as long as the other target's."""

import math
from statistics import fmean, stdev

from bellhousing_conformance.against import comparing
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

SHARE = 0.1
MOST_TOKENS = 128
LEAST_OUTPUTS = 12
AT_ONCE = 8


def compare(target: Rows, other: Rows, _alpha: float) -> Judgement:
    """Judge the ratio of the mean lengths; its interval is that of the paired differences (Student)."""
    from scipy.stats import t

    pairs = [(a["tokens"], b["tokens"]) for a, b in zip(target, other, strict=False)]
    if len(pairs) < LEAST_OUTPUTS:
        return Judgement(status=Status.INCONCLUSIVE, problems=(f"{len(pairs)} pairs of outputs",))
    mean = fmean(there for _, there in pairs)
    differences = [here - there for here, there in pairs]
    half = float(t.ppf(0.975, len(pairs) - 1)) * stdev(differences) / math.sqrt(len(pairs))
    shift = fmean(differences) / mean
    low, high = shift - half / mean, shift + half / mean
    figures = (
        Figure(name="pairs", value=len(pairs)),
        Figure(name="mean tokens of the other target", value=mean),
        Figure(name="relative difference of the mean length", value=shift, low=low, high=high),
    )
    if max(-low, high) <= SHARE:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"mean length: expected within {SHARE:.0%} of the other's, found {shift:+.1%} [{low:+.1%}, {high:+.1%}]"
    is_wrong = low > SHARE or high < -SHARE
    return Judgement(status=Status.FAIL if is_wrong else Status.INCONCLUSIVE, figures=figures, problems=(problem,))


@check(
    "TH3",
    title="Outputs that end by themselves are as long as the other target's, to within 10 %",
    clause="bellhousing.v1.SequenceEnd.completion_tokens",
    profile="throughput",
    tier="standard",
    needs=("sampling.max_tokens", "sampling.temperature", "sampling.seed"),
    paired=True,
    judge=comparing(compare),
    statistic="paired difference of the mean number of tokens, Student's interval",
    finds="outputs that are 10 % shorter or longer: less work for each request is no speed",
    seconds=300,
)
async def outputs_are_as_long(probe: Probe) -> None:
    """Draw outputs that may end by themselves, of equal prompts and seeds."""
    count = probe.size(smoke=24, standard=60, full=300)
    requests = [probe.request(max_tokens=MOST_TOKENS, temperature=1.0, seed=probe.seed()) for _ in range(count)]
    for run in await probe.run_all(requests, at_once=AT_ONCE):
        probe.observe("output", tokens=run.tokens())
