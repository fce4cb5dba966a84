"""X01: a cancelled request frees its place."""

import math
from functools import partial

from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import (
    PROMPT_ROOM,
    cut_stream,
    inter_token_seconds,
    is_free,
    lasting,
    seconds_until,
)
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
    needs=("sampling.max_tokens",),
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
        what = f"a stream lasts {length * pace:.2g} s at most: too short to tell its end from a place that was freed"
        probe.left_out(what, tokens=length, inter_token_seconds=pace)
        return
    for _ in range(probe.size(smoke=2, standard=30)):
        before = await probe.load()
        # A message a token: merged ones may hold most of the stream by the fourth.
        request = partial(lasting, probe, max_tokens=length, coalescing=False)
        if await cut_stream(probe, request, lambda run: len(run.deltas()) >= 4) is None:
            continue
        seconds = await seconds_until(probe, lambda load, before=before: is_free(load, before), GIVE_UP_SECONDS)  # type: ignore[misc]
        probe.within("seconds until the place was free", found=seconds, high=bound)


async def _pace(probe: Probe) -> float:
    """Return the inter-token latency in seconds, the least of a few streams' means: noise only ever adds to it.

    It is 0 where none had two deltas.
    """
    runs = [await probe.run(lasting(probe, max_tokens=PACE_TOKENS)) for _ in range(PACE_RUNS)]
    return min(filter(None, map(inter_token_seconds, runs)), default=0.0)
