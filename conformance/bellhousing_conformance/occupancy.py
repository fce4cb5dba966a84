"""How many places of the target are taken, and how soon they are free again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Calls, Run
from bellhousing_conformance.probe import Probe

POLL_SECONDS = 0.02
PROMPT_ROOM = 64
MOST_PLACES = 64
"""More places than this are not filled: the requests would load the client more than the target."""

FILL_SECONDS = 5.0


def long_request(probe: Probe) -> pb.GenerateRequest:
    """Return a request that goes on until the context is full."""
    return probe.request(max_tokens=probe.model.context_length - PROMPT_ROOM, ignore_eos=True)


def is_free(load: discovery_pb2.Load, before: discovery_pb2.Load) -> bool:
    """Tell whether no more runs or waits than before, as far as the target tells."""
    if load.running > before.running or load.queued > before.queued:
        return False
    if load.tokens_in_flight > before.tokens_in_flight:
        return False
    return load.engine_running <= before.engine_running


async def seconds_until(probe: Probe, reached: Callable[[discovery_pb2.Load], bool], limit: float) -> float:
    """Return the seconds until the load is told to be as wanted; `limit` or more when that takes longer.

    An answer counts from when it is there: a target that answers only when its prefill has ended told nothing before.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < limit:
        if reached(await probe.load()):
            return time.perf_counter() - began
        await asyncio.sleep(POLL_SECONDS)
    return limit


async def places(probe: Probe) -> int:
    """Return how many requests the target runs at once; 0, with a row that says why, when they are too many to fill."""
    most = (await probe.load()).max_running
    if most <= MOST_PLACES:
        return most
    probe.observe("too_many_places", max_running=most, most=MOST_PLACES)
    return 0


@asynccontextmanager
async def holding(
    probe: Probe,
    count: int,
    *,
    wait: bool = True,
    request: Callable[[], pb.GenerateRequest] | None = None,
    calls: Calls | None = None,
) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Keep `count` long generations in the target for the body; cancelling one of them frees its place.

    Unless `wait` is false they run when the body begins. They are not read: that would load this process more than the
    target. `calls` is the connection, the probe's own unless told.
    """
    began = [asyncio.Event() for _ in range(count)]
    hold = (calls or probe.calls).hold
    held = [asyncio.ensure_future(hold(request() if request else long_request(probe), event)) for event in began]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(FILL_SECONDS if wait else 0):
                await asyncio.gather(*(event.wait() for event in began))
        yield held
    finally:
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


def inter_token_seconds(run: Run) -> float:
    """Return the mean inter-token latency of a stream; 0 when it had no two deltas."""
    stamps = [ns for ns, kind in zip(run.stamps_ns, run.kinds, strict=True) if kind == "delta"]
    tokens = run.tokens() - run.deltas()[0].token_count if stamps else 0
    return (stamps[-1] - stamps[0]) / 1e9 / tokens if tokens else 0.0
