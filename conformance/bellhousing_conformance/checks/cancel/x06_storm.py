"""X06: a storm of cancellations leaves nothing behind."""

import asyncio
from functools import partial

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import is_free, long_request, seconds_until
from bellhousing_conformance.probe import Probe

AT_ONCE = 32
MOST_TOKENS = 12
MOST_SECONDS = 2.0


@check(
    "X06",
    title="Many cancellations, at every moment of a request, leave the load as it was",
    clause="bellhousing.v1.Load.running",
    profile="cancel",
    needs=("sampling.max_tokens",),
    finds="one place, place in the queue or estimate of tokens that is lost in the storm",
    tier="standard",
    alone=True,
    seconds=300,
)
async def a_storm_of_cancellations_leaves_nothing(probe: Probe) -> None:
    """Cancel requests before they start, in prefill and in decode; then ask GetLoad, and generate."""
    before = await probe.load()
    count = probe.size(smoke=48, standard=200, full=1000)
    await probe.each([partial(_one, probe) for _ in range(count)], at_once=AT_ONCE)
    left = await seconds_until(probe, lambda load: is_free(load, before), 3 * MOST_SECONDS)
    after = await probe.load()
    for name in ("running", "queued", "tokens_in_flight"):
        probe.within(f"{name} after the storm", found=getattr(after, name), high=getattr(before, name))
    probe.within("seconds until the load was what it was before", found=left, high=MOST_SECONDS)
    run = await probe.generate(max_tokens=4)
    probe.holds(run.tokens() <= 4, "after the storm: expected a generation of at most 4 tokens")


async def _one(probe: Probe) -> None:
    request = long_request(probe)
    if probe.random.random() < 0.5:
        wanted = probe.random.randint(0, MOST_TOKENS)
        await probe.calls.stream(request, until=lambda run: run.tokens() >= wanted)
        return
    task: asyncio.Task[Run] = asyncio.ensure_future(probe.calls.stream(request))
    await asyncio.wait([task], timeout=probe.random.uniform(0, 0.05))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
