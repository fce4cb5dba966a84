"""L04: how long a load takes is told, and true."""

import time

import grpc
import grpc.aio

from bellhousing.client.failures import failure
from bellhousing.v1 import admin_pb2
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import NotRun

WITHHELD = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
SHARE = 0.5
GRACE_SECONDS = 5.0
DIFFERENCE_SECONDS = 0.25


@check(
    "L04",
    title="LoadModel streams progress and tells how long the load took",
    clause="bellhousing.v1.ModelLoaded.elapsed",
    profile="lifecycle",
    needs=("sampling.max_tokens",),
    hooks=("start",),
    finds="a time that is less than half of the one measured here, or more than all of it",
    requirement="SHOULD",
    statistic="the reported time against the measured one",
    tier="standard",
    alone=True,
    seconds=420,
)
async def the_time_of_a_load_is_told(probe: Probe) -> None:
    """Unload the model and load it again; the last message, and only it, carries `loaded`.

    It needs the hook `start` as a sign that the target may be disturbed.
    """
    admin, name = probe.calls.stubs.admin, probe.model.name
    unload = admin_pb2.UnloadModelRequest(model=name)
    unload.grace.FromSeconds(int(GRACE_SECONDS))
    await _read(probe, "UnloadModel", admin.UnloadModel, unload)
    began = time.perf_counter()
    messages = await _read(probe, "LoadModel", admin.LoadModel, admin_pb2.LoadModelRequest(model=name))
    seconds = time.perf_counter() - began
    kinds = [message.WhichOneof("event") for message in messages]
    probe.equal("messages of LoadModel", found=kinds[:-1], expected=["progress"] * (len(kinds) - 1))
    probe.equal("last message of LoadModel", found=kinds[-1:], expected=["loaded"])
    if not messages:
        return
    told = messages[-1].loaded.elapsed.ToNanoseconds() / 1e9
    low = max(0.0, SHARE * seconds - DIFFERENCE_SECONDS)
    probe.within("seconds that a load took", found=told, low=low, high=seconds + DIFFERENCE_SECONDS, measured=seconds)
    run = await probe.generate(max_tokens=1)
    probe.equal("instance after a load", found=run.started.instance_id, expected=messages[-1].loaded.instance_id)


async def _read(probe: Probe, name: str, method: object, request: object) -> list[admin_pb2.LoadModelResponse]:
    call = method(request, metadata=probe.calls.metadata)  # type: ignore[operator]
    try:
        return [message async for message in call]
    except grpc.aio.AioRpcError as error:
        if error.code() in WITHHELD:
            raise NotRun(f"{name}: the token does not allow it") from error
        raise CallFailed(name, request, error.code(), failure(error)) from error  # type: ignore[arg-type]
