"""L02: a server that is told to end lets what runs finish."""

import asyncio
import time
from functools import partial

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.health import serves_again
from bellhousing_conformance.occupancy import lasting, running_streams
from bellhousing_conformance.probe import Probe

SECONDS_OF_STREAM = 2.0
MOST_TOKENS = 400
REFUSED = "UNAVAILABLE"


@check(
    "L02",
    title="A server that is stopped (SIGTERM) lets running streams finish and takes nothing new",
    clause="bellhousing.v1.Admin.Drain",
    profile="lifecycle",
    needs=("sampling.max_tokens",),
    hooks=("stop", "start"),
    finds="one stream that a stop cuts, or one request that a stopping server takes",
    tier="standard",
    alone=True,
    seconds=420,
)
async def a_stop_lets_streams_finish(probe: Probe) -> None:
    """Stop the target in the middle of streams of about two seconds; ask for more meanwhile; start it again."""
    tokens = await _tokens(probe)
    streams = await running_streams(probe, 2, request=partial(lasting, probe, max_tokens=tokens))
    if not streams:
        return
    since = time.perf_counter_ns()
    stopping = asyncio.ensure_future(probe.hooks.call("stop"))
    try:
        await _look_while_it_stops(probe, streams, tokens, since)
    finally:
        await stopping
        await probe.hooks.call("start")
    await serves_again(probe)


async def _look_while_it_stops(probe: Probe, streams: list["asyncio.Task[Run]"], tokens: int, since: int) -> None:
    """Ask for more, then read the streams to their end; those that ended before the stop show nothing."""
    await asyncio.sleep(0.3)
    late = await probe.calls.stream(probe.request(max_tokens=1))
    if not all(stream.done() for stream in streams):
        probe.equal("status of a request to a stopping server", found=late.status, expected=REFUSED)
    for run in await asyncio.gather(*streams):
        if run.ended_before(since):
            probe.left_out("a stream ended by itself before the stop")
            continue
        probe.equal("status of a stream that ran at the stop", found=run.status, expected="OK")
        if run.reason() != "EOS" or probe.supports("sampling.ignore_eos"):
            probe.equal("tokens of a stream that ran at the stop", found=run.tokens(), expected=tokens)


async def _tokens(probe: Probe) -> int:
    """Return the length of a stream of about `SECONDS_OF_STREAM`."""
    run = await probe.run(lasting(probe, max_tokens=32))
    pace = (run.stamps_ns[-1] - run.sent_ns) / 1e9 / max(1, run.tokens())
    return max(16, min(MOST_TOKENS, int(SECONDS_OF_STREAM / pace)))
