"""X04: cancelling a request that waits touches nobody else."""

import asyncio

from bellhousing_conformance.agreement import compare, greedy, judge, tolerance
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import holding, places, seconds_until
from bellhousing_conformance.probe import Probe

QUEUE_SECONDS = 2.0
MOST_SECONDS = 1.0


@check(
    "X04",
    title="Cancelling a queued request takes it out of the queue and leaves the active stream as it was",
    clause="bellhousing.v1.Load.queued",
    profile="cancel",
    needs=("sampling.max_tokens", "sampling.ignore_eos", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="a queue that keeps one cancelled request, or a stream that one cancellation beside it changes",
    tier="standard",
    alone=True,
    seconds=240,
)
async def a_queued_request_can_be_cancelled(probe: Probe) -> None:
    """Fill every place, one with a stream that is compared; queue two requests, and cancel the second.

    The first takes the place of the stream when that ends, so that the second waits until it is cancelled.
    """
    count = await places(probe)
    if not count:
        return
    for _ in range(probe.size(smoke=1, standard=3)):
        request = greedy(probe, max_tokens=256)
        alone = await probe.run(request)
        async with holding(probe, count - 1):
            beside = asyncio.ensure_future(probe.run(request))
            await seconds_until(probe, lambda load: load.running >= count, QUEUE_SECONDS)
            async with holding(probe, 1, wait=False):
                await _cancel_one(probe, count, beside)
            compare(probe, "a stream beside a cancelled one", alone, await beside, allowed=tolerance(probe))


async def _cancel_one(probe: Probe, count: int, beside: "asyncio.Task[Run]") -> None:
    """Send a request, see it wait, cancel it, and see that it is gone."""
    await seconds_until(probe, lambda load: load.queued + load.running > count, QUEUE_SECONDS)
    waiting = asyncio.ensure_future(probe.calls.stream(probe.request(max_tokens=4)))
    seconds = await seconds_until(probe, lambda load: load.queued + load.running > count + 1, QUEUE_SECONDS)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if seconds >= QUEUE_SECONDS:
        probe.observe("did_not_wait")
        return
    left = await seconds_until(
        probe, lambda load: load.queued + load.running <= count + (not beside.done()), 3 * MOST_SECONDS
    )
    probe.within("seconds until a cancelled request had left the queue", found=left, high=MOST_SECONDS)
