"""X05: the gRPC deadline is the deadline."""

import asyncio
import time
from contextlib import suppress
from functools import partial

from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import is_free, long_request, places, seconds_until
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import quantile_at_most, ticking

DEADLINES = (0.15, 0.6)
"""Shortest and longest deadline, in seconds: some pass in prefill, others in decode."""

MOST_LATE_SECONDS = 0.25
MOST_SECONDS = 1.0
GIVE_UP_SECONDS = 3.0
AT_ONCE = 8


@check(
    "X05",
    title="A deadline ends a request with DEADLINE_EXCEEDED within 250 ms, and frees its place",
    clause="bellhousing.v1.Inference",
    profile="cancel",
    needs=("sampling.max_tokens",),
    judge=quantile_at_most("lateness", 0.9, MOST_LATE_SECONDS),
    statistic="90th percentile of the time from the deadline to the status",
    finds="one request in ten that ends more than 250 ms late, or one place that is kept",
    tier="standard",
    alone=True,
    seconds=180,
)
async def a_deadline_ends_a_request(probe: Probe) -> None:
    """Send long requests with short deadlines, no more at once than run at once.

    This side has no timer for them: what ends a request at its deadline is the server.
    """
    before = await probe.load()
    count, at_once = probe.size(smoke=8, standard=64), min(AT_ONCE, await places(probe) or AT_ONCE)
    deadlines = [probe.random.uniform(*DEADLINES) for _ in range(count)]
    async with ticking(probe):
        await probe.each([partial(_one, probe, seconds) for seconds in deadlines], at_once=at_once)
    left = await seconds_until(probe, lambda load: is_free(load, before), 3 * MOST_SECONDS)
    probe.within("seconds from the last deadline until every place was free", found=left, high=MOST_SECONDS)


async def _one(probe: Probe, deadline: float) -> None:
    request, began, found = long_request(probe), time.perf_counter(), "none"
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline + GIVE_UP_SECONDS):
            run = await probe.attempt(request, deadline=deadline)
            found = run.status
    late = time.perf_counter() - began - deadline
    if found == "OK" and late <= MOST_LATE_SECONDS:
        probe.left_out("a request ended by itself before its deadline", seconds=late + deadline)
        return
    probe.equal("status of a request at its deadline", found=found, expected="DEADLINE_EXCEEDED")
    probe.observe("lateness", seconds=late)
