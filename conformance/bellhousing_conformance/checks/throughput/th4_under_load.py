"""TH4: what is delivered under load is what is delivered alone."""

import asyncio
import math
import time

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.agreement import compare_all, greedy
from bellhousing_conformance.agreement import judge as judge_pairs
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import together
from bellhousing_conformance.load.sender import Progress
from bellhousing_conformance.loads import ACCOUNTING, NEEDS, Load, capacity, loads_of, send_open
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

SHARE = 0.6
SUM_TOLERANCE = 1e-4
LEAST_ANSWERED = 0.5
"""Of the load's requests: a target that refuses most of them is not loaded by them."""

LONGER = 2
"""The load lasts at least so many times as long as the sample took alone: beside it, it takes longer."""


def judge(rows: Rows, alpha: float) -> Judgement:
    """Judge the outputs, and whether the target was loaded while they were made: without that nothing is decided."""
    seen = [row for row in rows if row["kind"] not in {"run", "sent", "capacity", "sampled"}]
    return together(judge_pairs(seen, alpha), _loaded(rows))


def _loaded(rows: Rows) -> Judgement:
    loads, sampled = loads_of(rows), [row for row in rows if row["kind"] == "sampled"]
    if not loads:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no load was sent",))
    load = loads[-1]
    answered = [row for row in load.run.rows if row.is_ok]
    figures = (Figure(name="requests of the load answered", value=len(answered)),)
    problems = [reason for name, reason in load.missed.items() if name in ACCOUNTING]
    if len(answered) < LEAST_ANSWERED * len(load.run.rows) or not answered:
        problems.append(f"the load: {len(answered)} of {len(load.run.rows)} requests were answered")
    else:
        start, end = _while_loaded(load)
        outside = sum(row["began_ns"] < start or row["ended_ns"] > end for row in sampled)
        if outside or not sampled:
            problems.append(f"{outside} of {len(sampled)} sampled outputs were made outside the time of the load")
    return Judgement(status=Status.INCONCLUSIVE if problems else Status.PASS, figures=figures, problems=tuple(problems))


def _while_loaded(load: Load) -> tuple[int, int]:
    """Return the wall times, in ns, between which requests of a load were answered."""
    ends = [row.end_ns for row in load.run.rows if row.is_ok]
    origin = next((sample.wall_ns - sample.at_ns for sample in load.run.info.samples), 0)
    return origin + min(ends), origin + max(ends)


@check(
    "TH4",
    title="Outputs sampled during load are those of an idle target, and their log probabilities sound",
    clause="bellhousing.v1.GenerateResponse",
    profile="throughput",
    tier="standard",
    needs=(*NEEDS, "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="one output of the sample that load changes, or one whose text, ids and usage disagree",
    alone=True,
    seconds=240,
)
async def load_changes_no_output(probe: Probe) -> None:
    """Run greedy requests alone, then again among the requests of an open load."""
    requests = [greedy(probe) for _ in range(probe.size(smoke=6, standard=16, full=64))]
    began = time.monotonic()
    alone = await probe.run_all(requests, at_once=1)
    taken = time.monotonic() - began
    rate = SHARE * await capacity(probe)
    seconds = max(probe.size(smoke=2, standard=25, full=120), LONGER * taken)
    among = await _among(probe, requests, rate, seconds)
    compare_all(probe, "an output during load", alone, among)
    for run in among:
        _look(probe, run)


async def _among(probe: Probe, requests: list[pb.GenerateRequest], rate: float, seconds: float) -> list[Run]:
    """Return the runs of some requests, which begin once a request of the load has been answered."""
    is_answered = asyncio.Event()

    def told(progress: Progress) -> None:
        if progress.ended > progress.failed:
            is_answered.set()

    load = asyncio.ensure_future(send_open(probe, "load", rate=rate, seconds=seconds, told=told))
    load.add_done_callback(lambda _: is_answered.set())  # a load that failed answers nothing any more
    try:
        await is_answered.wait()
        among = await probe.run_all(requests, at_once=2)
        await load
    finally:
        load.cancel()
        await asyncio.wait([load])
    wall = time.time_ns() - time.perf_counter_ns()
    for run in among:
        probe.observe("sampled", began_ns=run.sent_ns + wall, ended_ns=run.stamps_ns[-1] + wall)
    return among


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
