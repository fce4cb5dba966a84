"""X01: a cancelled request frees its place."""

import math
from functools import partial

from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import PROMPT_ROOM, inter_token_seconds, seconds_until
from bellhousing_conformance.probe import Probe

MOST_SECONDS = 1.0
GIVE_UP_SECONDS = 10.0
STREAM_SECONDS = 8.0
"""How long a stream would go on, where the context has room: its end must not look like a place that was freed."""
MARGIN = 2
PACE_RUNS, PACE_TOKENS = 4, 24


@check(
    "X01",
    title="After a cancelled call the load is what it was before, within 1 s + 2 inter-token latencies",
    clause="bellhousing.v1.Inference",
    profile="cancel",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    finds="a place that is kept after one cancellation of the sample",
    alone=True,
    seconds=180,
)
async def cancelled_request_frees_its_place(probe: Probe) -> None:
    """Cancel after the fourth delta, then ask GetLoad until the numbers are back."""
    pace = await _pace(probe)
    bound = MOST_SECONDS + 2 * pace
    room = probe.model.context_length - PROMPT_ROOM
    length = min(room, math.ceil(STREAM_SECONDS / pace)) if pace else room
    if length * pace < MARGIN * bound:  # it decides nothing then, and is inconclusive
        probe.observe("too_fast", tokens=length, inter_token_seconds=pace)
        return
    for _ in range(probe.size(smoke=2, standard=30)):
        before = await probe.load()
        # A message a token: merged ones may hold most of the stream by the fourth.
        request = probe.request(max_tokens=length, ignore_eos=True, coalescing=False)
        await probe.run(request, until=lambda run: len(run.deltas()) >= 4)
        seconds = await seconds_until(probe, partial(_is_back, before), GIVE_UP_SECONDS)
        probe.within("seconds until the place was free", found=seconds, high=bound)


def _is_back(before: discovery_pb2.Load, load: discovery_pb2.Load) -> bool:
    return load.running <= before.running


async def _pace(probe: Probe) -> float:
    """Return the inter-token latency in seconds, the least of a few streams' means: noise only ever adds to it."""
    runs = [await probe.generate(max_tokens=PACE_TOKENS, ignore_eos=True) for _ in range(PACE_RUNS)]
    return min(inter_token_seconds(run) for run in runs)
