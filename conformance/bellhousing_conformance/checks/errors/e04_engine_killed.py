"""E04: a dead engine is UNAVAILABLE, health says so, and it comes back."""

import asyncio

from bellhousing_conformance.check import check
from bellhousing_conformance.health import health, seconds_to, serves_again
from bellhousing_conformance.probe import Probe

NOTICE_SECONDS = 10.0
POLL_SECONDS = 0.02


@check(
    "E04",
    title="While the engine is dead requests are UNAVAILABLE and health is not SERVING; it comes back by itself",
    clause="grpc.health.v1.Health.Check",
    profile="errors",
    needs=("sampling.max_tokens",),
    hooks=("fault",),
    finds="health that says SERVING without an engine, another code, or an engine that stays dead",
    tier="standard",
    alone=True,
    seconds=420,
)
async def a_dead_engine_is_unavailable(probe: Probe) -> None:
    """Break the engine; look at health, generate while it is away, and wait until it is back."""
    probe.equal("health before", found=await health(probe), expected="SERVING")
    watching = asyncio.ensure_future(seconds_to(probe, ("NOT_SERVING", "UNREACHABLE"), NOTICE_SECONDS))
    await probe.hooks.call("fault")
    noticed = await watching
    probe.holds(noticed is not None, f"health: expected NOT_SERVING within {NOTICE_SECONDS:g} s of a fault, found none")
    if noticed is not None:
        run = await probe.attempt(probe.request(max_tokens=4))
        if await health(probe) == "NOT_SERVING":
            probe.equal("status of a request to a dead engine", found=run.status, expected="UNAVAILABLE")
    await serves_again(probe)
    run = await probe.attempt(probe.request(max_tokens=4))
    probe.holds(run.failed is None, f"after the engine is back: expected a generation to end well, found {run.failed}")
