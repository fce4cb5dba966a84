"""How many places of the target are taken, and how soon they are free again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Unpack

from bellhousing.client.arguments import GenerateArguments
from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed, Calls, Run
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.support import excuse

POLL_SECONDS = 0.02
PROMPT_ROOM = 64
MOST_PLACES = 64
"""More places than this are not filled: the requests would load the client more than the target."""

FILL_SECONDS = 5.0
START_SECONDS = 30.0
TRIES = 4
"""Streams in a row that may end by themselves before nothing more is expected of the next one."""

COUNTING = "All numbers, one after another: 1 2 3 4 5 6 7"


def long_request(probe: Probe) -> pb.GenerateRequest:
    """Return a request that goes on until the context is full, as `lasting` says."""
    return lasting(probe, max_tokens=probe.model.context_length - PROMPT_ROOM)


def lasting(probe: Probe, prompt: str | None = None, **arguments: Unpack[GenerateArguments]) -> pb.GenerateRequest:
    """Return a request whose output is as long as `max_tokens`, which at most is what the target declares.

    Where the target has no `ignore_eos` nobody can promise that: the request then counts, greedily, which models go on
    with. A stream that ends by itself all the same shows nothing; `cut_stream` and `running_streams` leave it out.
    """
    arguments["max_tokens"] = int(probe.at_most("sampling.max_tokens", arguments["max_tokens"]))
    if probe.supports("sampling.ignore_eos"):
        arguments["ignore_eos"] = True
    elif probe.supports("sampling.temperature"):
        arguments.setdefault("temperature", 0.0)
    return probe.request(going_on(probe, prompt), **arguments)


def going_on(probe: Probe, prompt: str | None) -> str | None:
    """Return a prompt as it is, or made one that a model goes on with where nobody can tell it to."""
    if probe.supports("sampling.ignore_eos"):
        return prompt
    return f"{prompt or f'Note {probe.random.randrange(10**9)}.'} {COUNTING}"


async def cut_stream(
    probe: Probe, request: Callable[[], pb.GenerateRequest], until: Callable[[Run], bool]
) -> Run | None:
    """Return a stream that was cancelled when `until` said so; None, with a row that says why, when some ended before.

    Raises as `Probe.run`.
    """
    for _ in range(TRIES):
        run = await probe.run(request(), until=until)
        if "finished" not in run.kinds:
            return run
    probe.left_out(f"{TRIES} streams ended by themselves before they could be cancelled")
    return None


async def running_streams(
    probe: Probe, count: int, *, deltas: int = 1, request: Callable[[], pb.GenerateRequest] | None = None
) -> list["asyncio.Task[Run]"]:
    """Return streams that have brought some deltas and go on; none, with a row that says why, where they cannot be had.

    Raises what a stream that failed raises.
    """
    for _ in range(TRIES):
        began = [asyncio.Event() for _ in range(count)]
        streams = [
            asyncio.ensure_future(_noted(probe, request() if request else long_request(probe), deltas, event))
            for event in began
        ]
        try:
            have_begun = await _under_way(streams, began)
            over = [stream.result() for stream in streams if stream.done()]
        except BaseException:
            await end_all(streams)
            raise
        if have_begun and not over:
            return streams
        await end_all(streams)
        for run in over:
            if run.failed is not None:
                raise run.failed
        if not have_begun:
            probe.holds(False, f"expected {deltas} deltas of a stream within {START_SECONDS:g} s, found fewer")
            return []
    probe.left_out(f"streams ended by themselves before they could be looked at, {TRIES} times")
    return []


async def end_all(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait for their ends, whatever those are."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _noted(probe: Probe, request: pb.GenerateRequest, deltas: int, began: asyncio.Event) -> Run:
    """Read a stream to its end; `began` is set once some deltas are there."""

    def look(run: Run) -> bool:
        if len(run.deltas()) >= deltas:
            began.set()
        return False

    return await probe.calls.stream(request, until=look)


async def _under_way(streams: Sequence["asyncio.Task[Run]"], began: Sequence[asyncio.Event]) -> bool:
    """Wait until each stream has begun or is over; tell whether that came in time."""

    async def one(stream: "asyncio.Task[Run]", event: asyncio.Event) -> None:
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait([waiting, stream], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*map(one, streams, began))
    except TimeoutError:
        return False
    return True


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
    """Return how many requests the target runs at once; 0, with a row that says why, when those cannot be filled."""
    most = (await probe.load()).max_running
    if 0 < most <= MOST_PLACES:
        return most
    if most == 0:
        probe.left_out("the target does not tell how many requests it runs at once (Load.max_running)")
        return 0
    probe.left_out(f"the target runs {most} requests at once: more than {MOST_PLACES} are not filled", max_running=most)
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
        _raise_excused(probe, held)
        yield held
    finally:
        await end_all(held)


def _raise_excused(probe: Probe, held: Sequence["asyncio.Task[None]"]) -> None:
    """Raise the refusal of a request that asked for more than the target declares: nothing can be held then."""
    for task in held:
        error = task.exception() if task.done() and not task.cancelled() else None
        if isinstance(error, CallFailed) and excuse(probe.model, error):
            raise error


def inter_token_seconds(run: Run) -> float:
    """Return the mean inter-token latency of a stream; 0 when it had no two deltas."""
    stamps = [ns for ns, kind in zip(run.stamps_ns, run.kinds, strict=True) if kind == "delta"]
    tokens = run.tokens() - run.deltas()[0].token_count if stamps else 0
    return (stamps[-1] - stamps[0]) / 1e9 / tokens if tokens else 0.0
