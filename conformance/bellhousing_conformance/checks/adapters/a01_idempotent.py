"""A01: registering, loading and unloading again changes nothing."""

from bellhousing_conformance.adapters import listed, load, new_name, register, sources, unload
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

DEVICE = "ADAPTER_STATE_DEVICE"


@check(
    "A01",
    title="Register, load and unload are idempotent, and the list tells what is there",
    clause="bellhousing.v1.Admin.RegisterAdapter",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens"),
    finds="one operation that fails the second time, or one entry that is missing or left over",
    tier="standard",
    alone=True,
)
async def operations_are_idempotent(probe: Probe) -> None:
    """Do everything twice; then register another source under the name, and forget it."""
    source, other = sources(probe, 2)
    name = new_name(probe)
    first, again = [await register(probe, name, source) for _ in range(2)]
    probe.equal("digest registered again", found=again.digest, expected=first.digest)
    probe.equal("list after registering", found=list(await listed(probe, name)), expected=[name])
    loads = [await load(probe, name) for _ in range(2)]
    probe.equal("time to load what is loaded", found=loads[1].elapsed.ToNanoseconds(), expected=0)
    probe.equal("state after loading", found=(await listed(probe, name)).get(name), expected=DEVICE)
    probe.equal("status of a taken name", found=await _registering(probe, name, other), expected="ALREADY_EXISTS")
    for _ in range(2):
        await unload(probe, name)
    probe.holds((await listed(probe, name)).get(name) not in (None, DEVICE), "after unloading: expected it registered")
    await unload(probe, name, forget=True)
    probe.equal("list after forgetting", found=list(await listed(probe, name)), expected=[])
    run = await probe.calls.stream(probe.request("Hello", adapter=name, max_tokens=1))
    probe.equal("status of a request for a forgotten adapter", found=run.status, expected="NOT_FOUND")


async def _registering(probe: Probe, name: str, source: str) -> str:
    try:
        await register(probe, name, source)
    except CallFailed as failed:
        return failed.code.name
    return "OK"
