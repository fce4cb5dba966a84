"""D04: a restart changes the instance, not the outputs."""

import asyncio
import time

from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

LENGTH = 24
POLL_SECONDS = 0.05
RESTART_SECONDS = 300.0


@check(
    "D04",
    title="After a restart the same seeds give the same outputs, and instance_id is another",
    clause="bellhousing.v1.Model.instance_id",
    profile="determinism",
    requirement="SHOULD",  # the contract promises the same output on the same instance alone
    tier="standard",
    needs=("sampling.seed", "sampling.temperature", "sampling.max_tokens", "determinism"),
    hooks=("start", "stop"),
    finds="one output that a restart changes; an instance_id that it does not change",
    alone=True,
    seconds=400,
)
async def restart_changes_nothing(probe: Probe) -> None:
    """Generate, greedily and from seeds, before and after; a first generation fills a prefix cache both times."""
    temperatures = (0.0, 1.0, 1.0) * probe.size(smoke=1, standard=4)
    requests = [probe.request(max_tokens=LENGTH, temperature=each, seed=probe.seed()) for each in temperatures]
    before, was = await _outputs(probe, requests), await probe.describe()
    await probe.hooks.call("stop")
    await probe.hooks.call("start")
    now = await _served_again(probe)
    probe.holds(
        now is not None, f"expected the model to serve within {RESTART_SECONDS:g} s of a start, found it does not"
    )
    if now is None:
        return
    after = await _outputs(probe, requests)
    for temperature, old, new in zip(temperatures, before, after, strict=True):
        probe.equal(f"output at temperature {temperature:g} after a restart", found=new, expected=old)
    probe.holds(
        was.instance_id != now.instance_id, f"instance_id: expected another one, found {now.instance_id!r} again"
    )
    probe.equal("model_digest after a restart", found=now.model_digest, expected=was.model_digest)


async def _outputs(probe: Probe, requests: list[pb.GenerateRequest]) -> list[str]:
    await probe.run_all(requests, at_once=1)
    return [run.text() for run in await probe.run_all(requests, at_once=1)]


async def _served_again(probe: Probe) -> discovery_pb2.Model | None:
    """Return the model once it serves; None when it does not in time."""
    began = time.monotonic()
    while time.monotonic() - began < RESTART_SECONDS:
        try:
            model = await probe.describe()
        except CallFailed as failed:
            if not failed.is_connection_lost:
                raise
        else:
            if model.state == discovery_pb2.MODEL_STATE_SERVING:
                return model
        await asyncio.sleep(POLL_SECONDS)
    return None
