"""E02: a name that is not known is NOT_FOUND."""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from bellhousing.errors import NotFound
from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

UNKNOWN = "no-model-has-this-name"


@check(
    "E02",
    title="An unknown model is NOT_FOUND on every method",
    clause="bellhousing.v1.GenerateRequest.model",
    profile="errors",
    finds="a method that takes another model for the one asked for, or answers with another code",
)
async def unknown_model_is_not_found(probe: Probe) -> None:
    """Ask each method that takes a model, and name an unknown adapter where adapters are taken."""
    inference, discovery = probe.calls.stubs.inference, probe.calls.stubs.discovery
    await _expect(probe, discovery.GetModel, discovery_pb2.GetModelRequest(model=UNKNOWN))
    await _expect(probe, discovery.GetLoad, discovery_pb2.GetLoadRequest(model=UNKNOWN))
    await _expect(probe, inference.Complete, pb.GenerateRequest(model=UNKNOWN, text="Hello"))
    if probe.supports("tokenize"):
        await _expect(probe, inference.Tokenize, pb.TokenizeRequest(model=UNKNOWN, text="Hello"))
    run = await probe.calls.stream(pb.GenerateRequest(model=UNKNOWN, text="Hello"))
    _note(probe, "Generate", run.failed)
    if probe.supports("adapter"):
        adapted = probe.request("Hello", adapter="no-adapter-has-this-name", max_tokens=1)
        await _expect(probe, inference.Complete, adapted)


async def _expect(probe: Probe, method: Callable[..., Awaitable[Any]], request: Message) -> None:
    try:
        await probe.calls.ask(method, request)
    except CallFailed as failed:
        _note(probe, failed.method, failed)
    else:
        _note(probe, type(request).__name__, None)


def _note(probe: Probe, method: str, failed: CallFailed | None) -> None:
    code = failed.code.name if failed else "OK"
    probe.equal(f"status of {method} for an unknown name", found=code, expected="NOT_FOUND")
    if failed is not None and isinstance(failed.error, NotFound):
        probe.holds(bool(failed.error.metadata), f"{method}: expected ErrorInfo in the status details, found none")
