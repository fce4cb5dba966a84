"""X04: cancelling a request that waits touches nobody else."""

import asyncio

from bellhousing_conformance import agreement
from bellhousing_conformance.agreement import compare, greedy, tolerance
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import reasons, together
from bellhousing_conformance.occupancy import TRIES, end_all, going_on, holding, places, seconds_until
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Judgement, Rows, Status

QUEUE_SECONDS = 2.0
MOST_SECONDS = 1.0
CANCELLED = 3
"""More than one: the active stream may end meanwhile, and the load then falls by one whatever a cancellation does."""


def judge(rows: Rows, alpha: float = 0.0) -> Judgement:
    """Judge outputs and times; without requests that wait nothing is decided."""
    found = agreement.judge(rows, alpha)
    told = reasons(rows)
    return together(Judgement(status=Status.INCONCLUSIVE, problems=told), found) if told else found


@check(
    "X04",
    title="Cancelling queued requests takes them out of the queue and leaves the active stream as it was",
    clause="bellhousing.v1.Load.queued",
    profile="cancel",
    needs=("sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="a queue that keeps two of three cancelled requests, or a stream that cancellations beside it change",
    tier="standard",
    alone=True,
    seconds=240,
)
async def a_queued_request_can_be_cancelled(probe: Probe) -> None:
    """Fill every place, one with a stream that is compared; queue some requests, and cancel all but the first.

    The first takes the place of the stream when that ends, so that the others wait until they are cancelled.
    """
    count = await places(probe)
    if not count:
        return
    for _ in range(probe.size(smoke=1, standard=3)):
        for _ in range(1 if probe.supports("sampling.ignore_eos") else TRIES):
            if await _beside_cancelled_ones(probe, count):
                break
        else:
            probe.left_out(f"the requests to be cancelled did not wait within {QUEUE_SECONDS:g} s")


async def _beside_cancelled_ones(probe: Probe, count: int) -> bool:
    """Compare a stream alone with itself beside requests that are cancelled; tell whether those waited."""
    request = greedy(probe, going_on(probe, probe.prompt()), max_tokens=256)
    alone = await probe.run(request)
    async with holding(probe, count - 1):
        beside = asyncio.ensure_future(probe.run(request))
        await seconds_until(probe, lambda load: load.running >= count, QUEUE_SECONDS)
        async with holding(probe, 1, wait=False):
            have_waited = await _cancel_queued(probe, count)
        compare(probe, "a stream beside cancelled ones", alone, await beside, allowed=tolerance(probe))
    return have_waited


async def _cancel_queued(probe: Probe, count: int) -> bool:
    """Send requests, see them wait, cancel them, and see that they are gone; tell whether they waited."""
    await seconds_until(probe, lambda load: load.queued + load.running > count, QUEUE_SECONDS)
    waiting = [asyncio.ensure_future(probe.calls.stream(probe.request(max_tokens=4))) for _ in range(CANCELLED)]
    seconds = await seconds_until(probe, lambda load: load.queued + load.running > count + CANCELLED, QUEUE_SECONDS)
    await end_all(waiting)
    if seconds >= QUEUE_SECONDS:
        return False
    left = await seconds_until(probe, lambda load: load.queued + load.running <= count + 1, 3 * MOST_SECONDS)
    probe.within("seconds until cancelled requests had left the queue", found=left, high=MOST_SECONDS)
    return True
