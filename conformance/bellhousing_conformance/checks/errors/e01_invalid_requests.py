"""E01: what is wrong with a request is told by code and field."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bellhousing.errors import InvalidRequest
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

Change = Callable[[pb.GenerateRequest], object]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A request with one fault: the field that must be named, and what makes it wrong."""

    field: str
    change: Change
    needs: str = ""
    code: str = "INVALID_ARGUMENT"


def _sampling(name: str, value: float, suffix: str = "") -> Wrong:
    field = f"sampling.{name}"
    return Wrong(field + suffix, lambda request: setattr(request.sampling, name, value), field)


def _minimum_above_maximum(request: pb.GenerateRequest) -> None:
    request.sampling.max_tokens, request.sampling.min_tokens = 2, 3


WRONG = (
    Wrong("prompt", lambda request: request.ClearField("prompt")),
    Wrong("text", lambda request: setattr(request, "text", ""), "text"),
    Wrong("token_ids", lambda request: request.token_ids.SetInParent(), "token_ids"),
    Wrong("token_ids", lambda request: request.token_ids.ids.append(2**32 - 1), "token_ids"),
    Wrong("chat.messages", lambda request: request.chat.SetInParent(), "chat"),
    Wrong("chat.messages", lambda request: request.chat.messages.add(content="Hello"), "chat"),
    _sampling("max_tokens", 0),
    _sampling("temperature", -1.0),
    _sampling("temperature", float("nan")),
    _sampling("top_p", 0.0),
    _sampling("top_p", 1.5),
    _sampling("min_p", -0.1),
    _sampling("typical_p", 2.0),
    _sampling("repetition_penalty", 0.0),
    _sampling("presence_penalty", 2.5),
    _sampling("frequency_penalty", -2.5),
    _sampling("n", 0),
    Wrong("sampling.logit_bias", lambda request: request.sampling.logit_bias.update({1: 101.0}), "sampling.logit_bias"),
    Wrong("sampling.min_tokens", _minimum_above_maximum, "sampling.min_tokens"),
    Wrong("stopping.strings", lambda request: request.stopping.strings.append(""), "stopping.strings"),
    Wrong("stopping.strings", lambda request: request.stopping.strings.append("x" * 257), "stopping.strings"),
    Wrong("stopping.strings", lambda request: request.stopping.strings.extend("abcdefghijklmnopq"), "stopping.strings"),
    Wrong("priority", lambda request: setattr(request, "priority", 99)),
    Wrong("request_id", lambda request: setattr(request, "request_id", "x" * 129)),
    Wrong("logprobs.top", lambda request: setattr(request.logprobs, "top", 1025), "logprobs.top"),
)
"""Requests that the contract refuses, each for one fault."""


@check(
    "E01",
    title="An invalid request is INVALID_ARGUMENT and names its field",
    clause="bellhousing.v1.Inference",
    profile="errors",
    finds="one of two dozen faults that is taken, told with another code, or without its field",
)
async def invalid_requests_are_told(probe: Probe) -> None:
    """Send each fault in both forms of a request. What needs a field that is not declared is left out."""
    for wrong in WRONG:
        if wrong.needs and not probe.supports(wrong.needs):
            continue
        request = probe.request("Hello", max_tokens=2)
        wrong.change(request)
        what = f"a wrong {wrong.field}"
        for form, failed in [("Generate", await _streamed(probe, request)), ("Complete", await _whole(probe, request))]:
            found = failed.code.name if failed else "OK"
            probe.equal(f"status of {form} with {what}", found=found, expected=wrong.code)
            fields = list(_fields(failed))
            names = any(
                field == wrong.field or field.startswith((f"{wrong.field}[", f"{wrong.field}.")) for field in fields
            )
            probe.holds(names, f"{form} with {what}: expected it to be named, found {', '.join(fields) or 'no field'}")


async def _streamed(probe: Probe, request: pb.GenerateRequest) -> CallFailed | None:
    return (await probe.calls.stream(request)).failed


async def _whole(probe: Probe, request: pb.GenerateRequest) -> CallFailed | None:
    try:
        await probe.complete(request)
    except CallFailed as failed:
        return failed
    return None


def _fields(failed: CallFailed | None) -> Iterator[str]:
    """Yield the fields that a refusal names."""
    if failed is not None and isinstance(failed.error, InvalidRequest):
        yield from (violation.field for violation in failed.error.violations)
