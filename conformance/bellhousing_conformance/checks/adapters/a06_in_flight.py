"""A06: an adapter is not taken from under a request."""

import asyncio

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.adapters import load, registered, sources, unload
from bellhousing_conformance.calls import CallFailed, Run
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

TOKENS = 200


@check(
    "A06",
    title="Unloading an adapter in use is FAILED_PRECONDITION, and the request that uses it finishes",
    clause="bellhousing.v1.Admin.UnloadAdapter",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens", "sampling.temperature"),
    finds="one stream that is cut or changed, or one unload that succeeds under it",
    tier="standard",
    alone=True,
    seconds=120,
)
async def an_adapter_in_use_stays(probe: Probe) -> None:
    """Unload in the middle of a stream; it goes on to the end that it has alone, and afterwards unloading works."""
    async with registered(probe, *sources(probe, 1)) as (name,):
        await load(probe, name)
        request = _request(probe, name)
        await probe.fill_cache(request)
        alone = await probe.run(request)
        began = asyncio.Event()
        stream = asyncio.ensure_future(_stream(probe, request, began))
        await began.wait()
        found = await _unloading(probe, name)
        if stream.done():
            probe.observe("too_fast")
        else:
            probe.equal("status of unloading what is in use", found=found, expected="FAILED_PRECONDITION")
        run = await stream
        probe.equal("status of the stream", found=run.status, expected="OK")
        probe.equal("tokens of the stream", found=run.tokens(), expected=alone.tokens())
        probe.equal("text of the stream", found=run.text(), expected=alone.text())
        probe.equal("status of unloading afterwards", found=await _unloading(probe, name), expected="OK")


def _request(probe: Probe, adapter: str) -> pb.GenerateRequest:
    """Return a request that lasts, and that gives the same each time."""
    arguments = {"ignore_eos": True} if probe.supports("sampling.ignore_eos") else {}
    return probe.request(adapter=adapter, max_tokens=TOKENS, temperature=0.0, **arguments)  # type: ignore[arg-type]


async def _stream(probe: Probe, request: pb.GenerateRequest, began: asyncio.Event) -> Run:
    def look(run: Run) -> bool:
        if run.deltas():
            began.set()
        return False

    try:
        return await probe.calls.stream(request, until=look)
    finally:
        began.set()


async def _unloading(probe: Probe, name: str) -> str:
    try:
        await unload(probe, name)
    except CallFailed as failed:
        return failed.code.name
    return "OK"
