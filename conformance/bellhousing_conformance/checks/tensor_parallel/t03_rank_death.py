"""T03: the death of one rank is told to everyone."""

import asyncio
import time

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.health import generates_again, serves_again
from bellhousing_conformance.occupancy import long_request
from bellhousing_conformance.probe import Probe

MOST_SECONDS = 30.0
START_SECONDS = 30.0


@check(
    "T03",
    title="When a rank dies, running streams are UNAVAILABLE within 30 s and the model comes back",
    clause="bellhousing.v1.Inference.Generate",
    profile="tensor-parallel",
    needs=("tensor_parallel", "sampling.max_tokens", "sampling.ignore_eos"),
    hooks=("fault",),
    finds="one stream that hangs, or ends well, without one of its ranks",
    tier="standard",
    alone=True,
    seconds=420,
)
async def a_rank_does_not_die_alone(probe: Probe) -> None:
    """End one process of the engine in the middle of a stream; the silence of the others is what would hang it."""
    began = asyncio.Event()

    def look(run: Run) -> bool:
        if run.deltas():
            began.set()
        return False

    stream = asyncio.ensure_future(probe.calls.stream(long_request(probe), until=look))
    async with asyncio.timeout(START_SECONDS):
        await began.wait()
    await probe.hooks.call("fault")
    since = time.perf_counter()
    run = await stream
    probe.within("seconds until the stream ended", found=time.perf_counter() - since, high=MOST_SECONDS)
    found = run.failed.code.name if run.failed else "OK"
    probe.equal("status of a stream that lost a rank", found=found, expected="UNAVAILABLE")
    await serves_again(probe)
    await generates_again(probe)
