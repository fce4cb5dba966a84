"""E03: a stream whose engine fails ends with a status that says so."""

import asyncio
import time

from bellhousing_conformance.check import check
from bellhousing_conformance.health import generates_again, serves_again
from bellhousing_conformance.occupancy import running_streams
from bellhousing_conformance.probe import Probe

CODES = ("UNAVAILABLE", "INTERNAL", "DATA_LOSS")
DELTAS = 2
STREAMS = 2


@check(
    "E03",
    title="A stream whose engine dies ends with a failure and no Finished",
    clause="bellhousing.v1.Inference.Generate",
    profile="errors",
    needs=("sampling.max_tokens",),
    hooks=("fault",),
    finds="one stream that ends well, or not at all, although its engine is gone",
    tier="standard",
    alone=True,
    seconds=420,
)
async def a_fault_ends_the_stream(probe: Probe) -> None:
    """Break the engine in the middle of streams, and read them to their end."""
    for _ in range(probe.size(smoke=1, standard=1, full=3)):
        streams = await running_streams(probe, STREAMS, deltas=DELTAS)
        if not streams:
            return
        since = time.perf_counter_ns()
        await probe.hooks.call("fault")
        for run in await asyncio.gather(*streams):
            if run.ended_before(since):
                probe.left_out("a stream ended by itself before the fault")
                continue
            found = run.status
            probe.holds(found in CODES, f"a stream whose engine died: expected {' or '.join(CODES)}, found {found}")
            probe.equal("Finished of a stream whose engine died", found="finished" in run.kinds, expected=False)
        await serves_again(probe)
        await generates_again(probe)
