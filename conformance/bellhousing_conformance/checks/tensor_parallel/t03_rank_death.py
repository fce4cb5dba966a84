"""T03: the death of one rank is told to everyone."""

import time

from bellhousing_conformance.check import check
from bellhousing_conformance.health import generates_again, serves_again
from bellhousing_conformance.occupancy import running_streams
from bellhousing_conformance.probe import Probe

MOST_SECONDS = 30.0


@check(
    "T03",
    title="When a rank dies, running streams are UNAVAILABLE within 30 s and the model comes back",
    clause="bellhousing.v1.Inference.Generate",
    profile="tensor-parallel",
    needs=("tensor_parallel", "sampling.max_tokens"),
    hooks=("fault",),
    finds="one stream that hangs, or ends well, without one of its ranks",
    tier="standard",
    alone=True,
    seconds=420,
)
async def a_rank_does_not_die_alone(probe: Probe) -> None:
    """End one process of the engine in the middle of a stream; the silence of the others is what would hang it."""
    streams = await running_streams(probe, 1)
    if not streams:
        return
    asked = time.perf_counter_ns()
    await probe.hooks.call("fault")
    since = time.perf_counter()
    run = await streams[0]
    if run.ended_before(asked):
        probe.left_out("the stream ended by itself before the fault")
        return
    probe.within("seconds until the stream ended", found=time.perf_counter() - since, high=MOST_SECONDS)
    probe.equal("status of a stream that lost a rank", found=run.status, expected="UNAVAILABLE")
    await serves_again(probe)
    await generates_again(probe)
