"""What health says of a target, and how soon it says something else."""

import asyncio
import time
from collections.abc import Collection

from grpc_health.v1 import health_pb2

from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.probe import Probe

POLL_SECONDS = 0.05
RESTART_SECONDS = 300.0
UNREACHABLE = "UNREACHABLE"


async def health(probe: Probe, service: str | None = None) -> str:
    """Return what health says of a service, the model unless told; `UNREACHABLE` while nothing answers."""
    name = probe.model.name if service is None else service
    try:
        answer = await probe.calls.ask(probe.calls.health.Check, health_pb2.HealthCheckRequest(service=name))
    except CallFailed as failed:
        return UNREACHABLE if failed.is_connection_lost else failed.code.name
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def seconds_to(probe: Probe, wanted: Collection[str], limit: float = RESTART_SECONDS) -> float | None:
    """Return the seconds until health says one of the wanted words; None when it does not within `limit`."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < limit:
        if await health(probe) in wanted:
            return passed
        await asyncio.sleep(POLL_SECONDS)
    return None


async def generates_again(probe: Probe) -> None:
    """Wait for a generation that ends well: a stream may end before health has heard of the engine's death."""
    began = time.monotonic()
    while time.monotonic() - began < RESTART_SECONDS:
        if (await probe.attempt(probe.request(max_tokens=4))).failed is None:
            return
        await asyncio.sleep(POLL_SECONDS)
    probe.holds(False, f"expected a generation to end well within {RESTART_SECONDS:g} s, found none")


async def serves_again(probe: Probe) -> None:
    """Wait until the model serves, and note that it should within `RESTART_SECONDS`."""
    seconds = await seconds_to(probe, ("SERVING",))
    probe.holds(seconds is not None, f"health: expected SERVING within {RESTART_SECONDS:g} s, found none")
