"""TH5: repeating a request is no way to be fast."""

import math

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.compare.statistics import location
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import is_noisy, ticking
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST_RATIO = 0.9
LEAST_PAIRS = 8
TOKENS = 24


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the ratio of the times, repeated over new. Only an interval below the limit as a whole fails."""
    pairs = [row for row in rows if row["kind"] == "pair"]
    if len(pairs) < LEAST_PAIRS:
        return Judgement(status=Status.INCONCLUSIVE, problems=(f"{len(pairs)} pairs",))
    part = pairs[0]["part"]
    found = location([math.log(r["again"] / r["new"]) for r in pairs])
    ratio, low, high = map(math.exp, (found.estimate, found.low, found.high))
    figures = (
        Figure(name="pairs", value=len(pairs)),
        Figure(name=f"{part}, repeated over new", value=ratio, low=low, high=high),
    )
    if low >= LEAST_RATIO:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"{part}, repeated over new: expected at least {LEAST_RATIO}, found {ratio:.2f} [{low:.2f}, {high:.2f}]"
    is_wrong = high < LEAST_RATIO and not is_noisy(rows)
    return Judgement(status=Status.FAIL if is_wrong else Status.INCONCLUSIVE, figures=figures, problems=(problem,))


@check(
    "TH5",
    title="A repeated request is at most 10 % faster, but for the prefill that a declared prefix cache saves",
    clause="bellhousing.v1.Capabilities.prefix_cache",
    profile="throughput",
    tier="standard",
    needs=("sampling.max_tokens", "sampling.temperature", "sampling.seed"),
    judge=judge,
    statistic="ratio of the times of a request and its repetition, Hodges-Lehmann with signed-rank interval",
    finds="a cache of whole answers, or one of prefixes that is not declared",
    alone=True,
    seconds=240,
)
async def repeats_are_not_faster(probe: Probe) -> None:
    """Send requests twice; where a prefix cache is declared compare the decode alone, else the whole."""
    is_declared = probe.supports("prefix_cache")
    async with ticking(probe):
        for _ in range(probe.size(smoke=10, standard=30, full=100)):
            request = probe.request(max_tokens=TOKENS, temperature=0.0, seed=probe.seed())
            request.sampling.ignore_eos = probe.supports("sampling.ignore_eos")
            new = await probe.run(request)
            again = await probe.run(request)
            times = [_decode(run) if is_declared else _whole(run) for run in (new, again)]
            if all(seconds > 0 for seconds in times):
                part = "decode" if is_declared else "the whole request"
                probe.observe("pair", part=part, new=times[0], again=times[1])


def _decode(run: Run) -> float:
    stamps = [ns for ns, message in zip(run.stamps_ns, run.messages, strict=True) if message.delta.token_count]
    return (stamps[-1] - stamps[0]) / 1e9 if stamps else 0.0


def _whole(run: Run) -> float:
    return (run.stamps_ns[-1] - run.sent_ns) / 1e9
