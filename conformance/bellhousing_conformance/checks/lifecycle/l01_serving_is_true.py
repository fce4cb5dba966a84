"""L01: SERVING means that a generation works."""

from bellhousing_conformance.check import check
from bellhousing_conformance.health import health, serves_again
from bellhousing_conformance.probe import Probe


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
        probe.equal(f"health of {service!r}", found=await health(probe, service), expected="SERVING")
    await _generate(probe, "now")
    if not probe.hooks.has("stop", "start"):
        return
    for _ in range(probe.size(smoke=1, standard=3)):
        await probe.hooks.call("stop")
        await probe.hooks.call("start")
        await serves_again(probe)
        await _generate(probe, "at the first SERVING after a start")


async def _generate(probe: Probe, when: str) -> None:
    run = await probe.attempt(probe.request(max_tokens=1))
    probe.holds(
        run.failed is None, f"health said SERVING {when}: expected a generation to end well, found {run.failed}"
    )
