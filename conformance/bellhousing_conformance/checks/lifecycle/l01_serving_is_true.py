"""L01: SERVING means that a generation works."""

import asyncio
import time

from grpc_health.v1 import health_pb2

from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

POLL_SECONDS = 0.05
RESTART_SECONDS = 300.0


@check(
    "L01",
    title="Health says SERVING only when a generation works",
    clause="grpc.health.v1.Health.Check",
    profile="lifecycle",
    needs=("sampling.max_tokens",),
    finds="one SERVING at which a generation fails, now and (with the hooks start and stop) while the target starts",
    alone=True,
    seconds=360,
)
async def serving_means_that_generation_works(probe: Probe) -> None:
    """Look now; with hooks, restart the target and generate the moment it says that it serves."""
    for service in ("", probe.model.name):
        probe.equal(f"health of {service!r}", found=await _health(probe, service), expected="SERVING")
    await _generate(probe, "now")
    if not probe.hooks.has("stop", "start"):
        return
    for _ in range(probe.size(smoke=1, standard=3)):
        await probe.hooks.call("stop")
        await probe.hooks.call("start")
        probe.holds(await _becomes_serving(probe), f"health: expected SERVING within {RESTART_SECONDS:g} s of a start")
        await _generate(probe, "at the first SERVING after a start")


async def _becomes_serving(probe: Probe) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < RESTART_SECONDS:
        if await _health(probe, probe.model.name) == "SERVING":
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _health(probe: Probe, service: str) -> str:
    """Return what health says; `UNREACHABLE` while nothing answers, which is no lie."""
    try:
        answer = await probe.calls.ask(probe.calls.health.Check, health_pb2.HealthCheckRequest(service=service))
    except CallFailed as failed:
        return "UNREACHABLE" if failed.is_connection_lost else failed.code.name
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def _generate(probe: Probe, when: str) -> None:
    run = await probe.calls.stream(probe.request(max_tokens=1))
    probe.holds(
        run.failed is None, f"health said SERVING {when}: expected a generation to end well, found {run.failed}"
    )
