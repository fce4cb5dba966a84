"""B01: a burst is answered: what does not fit is refused at once, the rest completes."""

import asyncio
import time
from contextlib import suppress

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import holding, is_free, lasting, places, seconds_until
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import quantile_at_most, ticking

FIRST_BURST = 4
"""Times the places of the target; then as many again as were sent, until something is refused."""

MOST_REQUESTS = 2048
TOKENS = 8
MOST_SECONDS = 1.0
FREE_SECONDS = 5.0
SETTLE_SECONDS = 10.0


@check(
    "B01",
    title="Of a burst, what does not fit gets RESOURCE_EXHAUSTED within 1 s, the rest completes, none hangs",
    clause="bellhousing.v1.Load.queued",
    profile="backpressure",
    needs=("sampling.max_tokens",),
    judge=quantile_at_most("refusal", 0.95, MOST_SECONDS),
    statistic="95th percentile of the time to a refusal; every request has one of the two ends",
    finds="one request that hangs or ends otherwise, or refusals that come late",
    tier="standard",
    alone=True,
    seconds=240,
)
async def a_burst_is_answered(probe: Probe) -> None:
    """Fill every place, send more and more until something is refused, free the places, and read everything to its end.

    Times are taken of single requests while the target is full: sending a burst takes the client itself long. The
    contract does not tell the queue's size: a target that queues `MOST_REQUESTS` is not decided.
    """
    before, count = await probe.load(), await places(probe)
    if not count:
        return
    sent: list[asyncio.Task[Run]] = []
    async with holding(probe, count):
        while len(sent) < MOST_REQUESTS and not any(task.done() for task in sent):
            sent += [asyncio.ensure_future(_one(probe)) for _ in range(max(len(sent), FIRST_BURST * count))]
            await _settle(probe, sent)
        refused = _done(sent)
        probe.observe("burst", requests=len(sent), refused=refused)
        if refused:
            async with ticking(probe):
                for _ in range(probe.size(smoke=4, standard=20)):
                    await _time_refusal(probe)
        else:
            for task in sent:
                task.cancel()
    for end in await asyncio.gather(*sent, return_exceptions=True):
        _note_end(probe, end)
    left = await seconds_until(probe, lambda load: is_free(load, before), FREE_SECONDS)
    probe.within("seconds until the places of the burst were free", found=left, high=FREE_SECONDS - 1)


async def _settle(probe: Probe, sent: list["asyncio.Task[Run]"]) -> None:
    """Wait until each request waits or has its end."""
    await seconds_until(probe, lambda load: load.queued + _done(sent) >= len(sent), SETTLE_SECONDS)


def _done(sent: list["asyncio.Task[Run]"]) -> int:
    return sum(task.done() for task in sent)


async def _one(probe: Probe) -> Run:
    return await probe.calls.stream(lasting(probe, max_tokens=TOKENS))


def _note_end(probe: Probe, end: Run | BaseException) -> None:
    """Note how a request of the burst ended."""
    if isinstance(end, asyncio.CancelledError):
        return
    if isinstance(end, BaseException):
        probe.holds(False, f"a request of the burst: expected an end, found {end}")
    elif end.failed is None and not probe.supports("sampling.ignore_eos"):
        probe.within("tokens of a request of the burst", found=end.tokens(), high=TOKENS)
    elif end.failed is None:
        probe.equal("tokens of a request of the burst", found=end.tokens(), expected=TOKENS)
    else:
        probe.equal("status of a request that does not fit", found=end.status, expected="RESOURCE_EXHAUSTED")


async def _time_refusal(probe: Probe) -> None:
    """Time one request to a full target; one that is not refused in time counts with the time it was given.

    One that is served found a place: a stream that held it had ended.
    """
    began, found = time.perf_counter(), ""
    with suppress(TimeoutError):
        async with asyncio.timeout(3 * MOST_SECONDS):
            run = await probe.calls.stream(probe.request(max_tokens=1))
            found = run.status
    seconds = time.perf_counter() - began
    if found == "OK" or (not found and not probe.supports("sampling.ignore_eos")):
        probe.left_out("a place became free while refusals were timed", seconds=seconds)
        return
    if found:
        probe.equal("status of a request to a full target", found=found, expected="RESOURCE_EXHAUSTED")
    probe.observe("refusal", seconds=seconds)
