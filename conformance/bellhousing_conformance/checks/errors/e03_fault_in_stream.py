"""E03: a stream whose engine fails ends with a status that says so."""

import asyncio

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.health import generates_again, serves_again
from bellhousing_conformance.occupancy import long_request
from bellhousing_conformance.probe import Probe

CODES = ("UNAVAILABLE", "INTERNAL", "DATA_LOSS")
DELTAS = 2
START_SECONDS = 30.0
STREAMS = 2


@check(
    "E03",
    title="A stream whose engine dies ends with a failure and no Finished",
    clause="bellhousing.v1.Inference.Generate",
    profile="errors",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    hooks=("fault",),
    finds="one stream that ends well, or not at all, although its engine is gone",
    tier="standard",
    alone=True,
    seconds=420,
)
async def a_fault_ends_the_stream(probe: Probe) -> None:
    """Break the engine in the middle of streams, and read them to their end."""
    for _ in range(probe.size(smoke=1, standard=1, full=3)):
        deltas = [asyncio.Event() for _ in range(STREAMS)]
        streams = [asyncio.ensure_future(_stream(probe, event)) for event in deltas]
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*(event.wait() for event in deltas))
        await probe.hooks.call("fault")
        for run in await asyncio.gather(*streams):
            found = run.failed.code.name if run.failed else "OK"
            probe.holds(found in CODES, f"a stream whose engine died: expected {' or '.join(CODES)}, found {found}")
            probe.equal("Finished of a stream whose engine died", found="finished" in run.kinds, expected=False)
        await serves_again(probe)
        await generates_again(probe)


async def _stream(probe: Probe, began: asyncio.Event) -> Run:
    def look(run: Run) -> bool:
        if len(run.deltas()) >= DELTAS:
            began.set()
        return False

    return await probe.calls.stream(long_request(probe), until=look)
