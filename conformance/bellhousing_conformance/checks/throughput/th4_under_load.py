"""TH4: what is delivered under load is what is delivered alone."""

import asyncio
import math

from bellhousing_conformance.agreement import compare_all, greedy, judge
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.loads import NEEDS, capacity, send_open
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Judgement, Rows

SHARE = 0.6
SUM_TOLERANCE = 1e-4


def _judge(rows: Rows, alpha: float) -> Judgement:
    return judge([row for row in rows if row["kind"] not in {"run", "sent", "capacity"}], alpha)


@check(
    "TH4",
    title="Outputs sampled during load are those of an idle target, and their log probabilities sound",
    clause="bellhousing.v1.GenerateResponse",
    profile="throughput",
    tier="standard",
    needs=(*NEEDS, "sampling.temperature"),
    judge=_judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="one output of the sample that load changes, or one whose text, ids and usage disagree",
    alone=True,
    seconds=240,
)
async def load_changes_no_output(probe: Probe) -> None:
    """Run greedy requests alone, then again among the requests of an open load."""
    requests = [greedy(probe) for _ in range(probe.size(smoke=6, standard=16, full=64))]
    alone = await probe.run_all(requests, at_once=1)
    rate = SHARE * await capacity(probe)
    seconds = probe.size(smoke=2, standard=25, full=120)
    load = asyncio.ensure_future(send_open(probe, "load", rate=rate, seconds=seconds))
    await asyncio.sleep(0.5)  # the sender is on its way
    try:
        among = await probe.run_all(requests, at_once=2)
    finally:
        await load
    compare_all(probe, "an output during load", alone, among)
    for run in among:
        _look(probe, run)


def _look(probe: Probe, run: Run) -> None:
    """Note whether what the messages of a stream say agrees: tokens, ids, usage and log probabilities."""
    probe.equal("tokens of the messages and of usage", found=run.tokens(), expected=run.end().completion_tokens)
    if run.ids():
        probe.equal("ids and tokens of the messages", found=len(run.ids()), expected=run.tokens())
    for delta in run.deltas():
        for entry in delta.logprobs:
            probe.within("a log probability during load", found=entry.logprob, high=1e-6)
            total = math.fsum(math.exp(each.logprob) for each in entry.top)
            probe.within("sum of the probabilities told of a token", found=total, high=1 + SUM_TOLERANCE)
