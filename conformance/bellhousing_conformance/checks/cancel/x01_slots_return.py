"""X01: a cancelled request frees its place."""

import asyncio
import time

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

MOST_SECONDS = 1.0
PROMPT_ROOM = 64
POLL_SECONDS = 0.02
GIVE_UP_SECONDS = 10.0
MARGIN = 2
"""What is left of a stream must take this many times the bound, or its end would look like a cancellation."""


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
    for _ in range(probe.size(smoke=2, standard=30)):
        before = await probe.load()
        length = probe.model.context_length - PROMPT_ROOM
        request = probe.request(max_tokens=length, ignore_eos=True)
        run = await probe.run(request, until=lambda run: len(run.deltas()) >= 4)
        bound = MOST_SECONDS + 2 * _inter_token(run)
        if (length - run.tokens()) * _inter_token(run) < MARGIN * bound:
            probe.observe("too_fast", tokens=run.tokens(), inter_token_seconds=_inter_token(run))
            continue
        seconds = await _seconds_until(probe, before.running)
        probe.within("seconds until the place was free", found=seconds, high=bound)


async def _seconds_until(probe: Probe, running: int) -> float:
    """Return the seconds until no more run than before; `GIVE_UP_SECONDS` when that does not come."""
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < GIVE_UP_SECONDS:
        if (await probe.load()).running <= running:
            return passed
        await asyncio.sleep(POLL_SECONDS)
    return GIVE_UP_SECONDS


def _inter_token(run: Run) -> float:
    """Return the mean inter-token latency of a stream, in seconds."""
    stamps = [ns for ns, kind in zip(run.stamps_ns, run.kinds, strict=True) if kind == "delta"]
    tokens = run.tokens() - run.deltas()[0].token_count
    return (stamps[-1] - stamps[0]) / 1e9 / tokens if tokens else 0.0
