"""B01: a burst is answered: what does not fit is refused at once, the rest completes."""

import asyncio
import time
from contextlib import suppress
from functools import partial

from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import holding, is_free, places, seconds_until
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import quantile_at_most, ticking

FIRST_BURST = 4
"""Times the places of the target; doubled until something is refused."""

MOST_REQUESTS = 2048
TOKENS = 8
MOST_SECONDS = 1.0
FREE_SECONDS = 5.0


@check(
    "B01",
    title="Of a burst, what does not fit gets RESOURCE_EXHAUSTED within 1 s, the rest completes, none hangs",
    clause="bellhousing.v1.Load.queued",
    profile="backpressure",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    judge=quantile_at_most("refusal", 0.95, MOST_SECONDS),
    statistic="95th percentile of the time to a refusal; every request has one of the two ends",
    finds="one request that hangs or ends otherwise, or refusals that come late",
    tier="standard",
    alone=True,
    seconds=240,
)
async def a_burst_is_answered(probe: Probe) -> None:
    """Send bursts of doubling size until one overflows. The contract does not tell the queue's size.

    Times are taken of single requests while the target is full: sending a burst takes the client itself long. A target
    that queues the largest burst whole is not decided: its queue may be bounded and larger.
    """
    before, count = await probe.load(), FIRST_BURST * max(4, await places(probe))
    refused = 0
    while not refused and count <= MOST_REQUESTS:
        refused = sum(await probe.each([partial(_one, probe)] * count, at_once=count))
        probe.observe("burst", requests=count, refused=refused)
        count *= 2
    if refused:
        async with holding(probe, count // 2, wait=False), ticking(probe):
            await seconds_until(probe, lambda load: load.queued > 0, FREE_SECONDS)
            for _ in range(probe.size(smoke=4, standard=20)):
                await _time_refusal(probe)
    left = await seconds_until(probe, lambda load: is_free(load, before), FREE_SECONDS)
    probe.within("seconds until the places of the burst were free", found=left, high=FREE_SECONDS - 1)


async def _one(probe: Probe) -> bool:
    """Send one request; note its end, and tell whether it was refused."""
    run = await probe.calls.stream(probe.request(max_tokens=TOKENS, ignore_eos=True))
    if run.failed is None:
        probe.equal("tokens of a request of the burst", found=run.tokens(), expected=TOKENS)
        return False
    probe.equal("status of a request that does not fit", found=run.failed.code.name, expected="RESOURCE_EXHAUSTED")
    return run.failed.code.name == "RESOURCE_EXHAUSTED"


async def _time_refusal(probe: Probe) -> None:
    """Send a request to a full target, and leave it should it be queued in a place that was free."""
    began = time.perf_counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(3 * MOST_SECONDS):
            run = await probe.calls.stream(probe.request(max_tokens=1))
            if run.failed is not None:
                probe.observe("refusal", seconds=time.perf_counter() - began)
