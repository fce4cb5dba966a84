"""B03: a reader that pauses costs no memory and no neighbour."""

import asyncio
import math
from statistics import median

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Calls
from bellhousing_conformance.check import check
from bellhousing_conformance.compare.statistics import location
from bellhousing_conformance.judges import together, undecided
from bellhousing_conformance.occupancy import end_all, holding, inter_token_seconds, lasting, long_request
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import is_noisy
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

MOST_BYTES = 16 * 2**20
MOST_RATIO = 1.2
READERS = 1
MOST_LOGPROBS = 100
WINDOW = 16 * 1024
"""Bytes that a reader takes in before it reads them: few, or gRPC would take in megabytes for a reader that pauses, and
the target would not notice within the check."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the ratio of a neighbour's inter-token latencies, reader read or paused, over pairs side by side in time.

    The interval (95 %) is that of Hodges and Lehmann. Only a lower bound above the limit fails.
    """
    pairs = [row for row in rows if row["kind"] == "ratio"]
    decided = [_judge_memory(rows)] if any(row["kind"] == "growth" for row in rows) else []
    if len(pairs) < 3:
        return together(undecided(rows, "fewer than three pairs"), *decided)
    found = location([math.log(row["paused"] / row["read"]) for row in pairs])
    ratio, low, high = map(math.exp, (found.estimate, found.low, found.high))
    figures = (Figure(name="pairs", value=len(pairs)), Figure(name="TPOT ratio", value=ratio, low=low, high=high))
    if high <= MOST_RATIO:
        return together(Judgement(status=Status.PASS, figures=figures), *decided)
    problem = f"TPOT of a neighbour, paused over read: expected at most {MOST_RATIO}, found {low:.2f} to {high:.2f}"
    status = Status.FAIL if low > MOST_RATIO and not is_noisy(rows) else Status.INCONCLUSIVE
    return together(Judgement(status=status, figures=figures, problems=(problem,)), *decided)


def _judge_memory(rows: Rows) -> Judgement:
    """Judge the median of what a pause added beyond what the same stream adds that is read: caches grow by either."""
    added = median(row["paused"] - row["read"] for row in rows if row["kind"] == "growth")
    figures = (Figure(name="bytes that a pause added, median", value=added),)
    if added <= MOST_BYTES:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"bytes that a pause added, median: expected at most {MOST_BYTES}, found {added:.0f}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "B03",
    title="A reader that pauses adds at most 16 MiB to the server, and at most 20 % to a neighbour's TPOT",
    clause="bellhousing.v1.StreamOptions.coalescing",
    profile="backpressure",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="ratio of inter-token latencies over interleaved pairs, 95 % interval; growth of resident memory",
    finds="a neighbour that is a fifth slower, or (with the hook rss) a buffer that grows by 16 MiB",
    tier="standard",
    alone=True,
    seconds=240,
)
async def a_paused_reader_costs_nobody(probe: Probe) -> None:
    """Stream beside a stream that is read, and beside one that is not, in turns; the load on the engine is the same.

    Pairs are added until the interval decides, up to three times as many as the least number.
    """
    async with Calls(probe.calls.where, probe.calls.silence, window=WINDOW) as readers:
        await _pairs(probe, readers)


async def _pairs(probe: Probe, readers: Calls) -> None:
    tokens = 64 if probe.tier == "smoke" else 160
    await _neighbour(probe, tokens)
    pause = {"smoke": 0.3, "standard": 0.5, "full": 5.0}[probe.tier]
    least, most = probe.size(smoke=6, standard=6, full=20), probe.size(smoke=18, standard=18, full=60)
    for number in range(most):
        before = await _resident(probe)
        with_reader = await _beside_a_reader(probe, readers, tokens, pause)
        between = await _resident(probe)
        async with holding(probe, READERS, request=lambda: _bulky(probe), calls=readers):
            await asyncio.sleep(pause)
            without = await _neighbour(probe, tokens)
            after = await _resident(probe)
        if with_reader and without:
            probe.observe("ratio", read=with_reader, paused=without)
        else:
            probe.left_out("a neighbour ended by itself before its second delta")
        if before and between and after:
            probe.observe("growth", read=between - before, paused=after - between)
        if number + 1 >= least and judge(probe.rows, 0.0).status is not Status.INCONCLUSIVE:
            return


async def _beside_a_reader(probe: Probe, readers: Calls, tokens: int, pause: float) -> float:
    read = asyncio.ensure_future(readers.stream(_bulky(probe)))
    try:
        await asyncio.sleep(pause)
        return await _neighbour(probe, tokens)
    finally:
        await end_all([read])


def _bulky(probe: Probe) -> pb.GenerateRequest:
    """Return a long request with large messages, so that what is not read soon fills the buffers on the way."""
    request = long_request(probe)
    if probe.supports("logprobs.top"):
        request.logprobs.top = probe.alternatives(MOST_LOGPROBS)
    return request


async def _neighbour(probe: Probe, tokens: int) -> float:
    return inter_token_seconds(await probe.run(lasting(probe, max_tokens=tokens)))


async def _resident(probe: Probe) -> int:
    return int(await probe.hooks.call("rss")) if probe.hooks.has("rss") else 0
