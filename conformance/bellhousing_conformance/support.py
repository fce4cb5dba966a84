"""What a target declares, and whether it rejects what it declares absent.

A capability is named by the path of a field of `GenerateRequest`, such as `sampling.top_k`, or by one of `MODES`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct

from bellhousing.capabilities import EXAMPLES, FIELDS, Range
from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed, Calls

LOADED_WHILE_SERVING = (discovery_pb2.ADAPTER_SUPPORT_DYNAMIC, discovery_pb2.ADAPTER_SUPPORT_DERIVED)

MODES: Mapping[str, Callable[[discovery_pb2.Capabilities], bool]] = {
    "token_ids": lambda told: told.token_ids,
    "tokenize": lambda told: told.tokenize,
    "detokenize": lambda told: told.detokenize,
    "embed": lambda told: told.embed,
    "sleep": lambda told: told.sleep,
    "prefix_cache": lambda told: told.prefix_cache,
    "determinism": lambda told: told.determinism > discovery_pb2.DETERMINISM_NONE,
    "parts_of_characters": lambda told: not told.joined_characters,
    "batch_invariance": lambda told: told.determinism == discovery_pb2.DETERMINISM_BATCH_INVARIANT,
    "adapters": lambda told: told.adapters > discovery_pb2.ADAPTER_SUPPORT_NONE,
    "dynamic_adapters": lambda told: told.adapters in LOADED_WHILE_SERVING,
}
"""Capabilities that are no fields of a request."""

STRUCTURED = {"json_schema": '{"type": "object"}', "json_object": True, "regex": "[0-9]{3}", "grammar": 'root ::= "a"'}


def is_declared(model: discovery_pb2.Model, path: str) -> bool:
    """Tell whether a model declares a capability. Raises `KeyError` for one that the contract has not."""
    told = model.capabilities
    if path == "tensor_parallel":
        return model.parallelism.tensor_effective > 1
    if path in MODES:
        return MODES[path](told)
    if path not in FIELDS:
        raise KeyError(f"capability {path!r}: expected a field of GenerateRequest or one of {', '.join(MODES)}")
    return any(parameter.field == path for parameter in told.parameters)


def declared_range(model: discovery_pb2.Model, path: str) -> Range | None:
    """Return the values of a field that a model declares; None where it does not declare the field."""
    told = next((parameter for parameter in model.capabilities.parameters if parameter.field == path), None)
    if told is None:
        return None
    return Range(
        minimum=told.minimum if told.HasField("minimum") else None,
        maximum=told.maximum if told.HasField("maximum") else None,
        exclusive_minimum=told.exclusive_minimum,
        exclusive_maximum=told.exclusive_maximum,
        max_items=told.max_items if told.HasField("max_items") else None,
    )


def greatest(model: discovery_pb2.Model, path: str) -> float | None:
    """Return the greatest value that a model declares of a field; None where it declares no bound."""
    limits = declared_range(model, path)
    return limits.maximum if limits else None


def excuse(model: discovery_pb2.Model, failed: CallFailed) -> str | None:
    """Return why a refusal is no fault: the request asked for more than the model declares. None where it did not.

    A refusal that names other fields than those is not excused by them.
    """
    if failed.code is not grpc.StatusCode.INVALID_ARGUMENT or not isinstance(failed.message, pb.GenerateRequest):
        return None
    beyond = _beyond(model, failed.message)
    named = [violation.field for violation in getattr(failed.error, "violations", ())]
    meant = [phrase for path, phrase in beyond.items() if not named or any(_is_of(path, each) for each in named)]
    return f"{BEYOND}: {'; '.join(meant)}" if meant else None


BEYOND = "the check asks for more than is declared"


def _is_of(path: str, named: str) -> bool:
    return named == path or named.startswith((f"{path}[", f"{path}."))


def _beyond(model: discovery_pb2.Model, request: pb.GenerateRequest) -> dict[str, str]:
    """Return what a request asks for that a model does not declare: a phrase for each field."""
    found = {}
    for path, value in _set_fields(request):
        limits = declared_range(model, path)
        fault = "is not declared" if limits is None else _fault(path, value, limits)
        if fault:
            found[path] = f"{path} {fault}"
    return found


def _set_fields(request: pb.GenerateRequest) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each field of the contract's list that a request sets."""
    for descriptor, value in request.ListFields():
        if descriptor.name in FIELDS:
            yield descriptor.name, value
        if descriptor.name in GROUPS:
            for each, inner in value.ListFields():
                if f"{descriptor.name}.{each.name}" in FIELDS:
                    yield f"{descriptor.name}.{each.name}", inner


GROUPS = ("chat", "sampling", "stopping", "logprobs", "structured_output")
"""Messages of a request whose own fields are declared one by one."""


def _fault(path: str, value: Any, limits: Range) -> str | None:
    """Return what is wrong with a value of a field by the declared range."""
    if path in LISTS:
        entries, numbers = LISTS[path](value)
        if limits.max_items is not None and entries > limits.max_items:
            return f"must have at most {limits.max_items} entries, found {entries}"
    else:
        numbers = [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
    return next(filter(None, map(limits.violation, numbers)), None)


LISTS: Mapping[str, Callable[[Any], tuple[int, Iterable[float]]]] = {
    "sampling.logit_bias": lambda value: (len(value), list(value.values())),
    "stopping.strings": lambda value: (len(value), ()),
    "stopping.token_ids": lambda value: (len(value), value),
    "structured_output.choice": lambda value: (len(value.options), ()),
}
"""Fields of several values: how many there are, and the numbers among them that a range bounds."""


def with_field(request: pb.GenerateRequest, path: str) -> pb.GenerateRequest:
    """Return the request with a valid value of one more field, which asks for an effect. Raises `KeyError`."""
    changed = pb.GenerateRequest()
    changed.CopyFrom(request)
    group, _, name = path.partition(".")
    if group == "sampling":
        _set_sampling(changed, name)
    elif path == "structured_output.choice":
        changed.structured_output.choice.options.extend(["red", "blue"])
    elif group == "structured_output":
        setattr(changed.structured_output, name, STRUCTURED[name])
    else:
        OTHERS[path](changed)
    return changed


def _set_sampling(request: pb.GenerateRequest, name: str) -> None:
    if name == "logit_bias":
        request.sampling.logit_bias[0] = 1.0
    elif name == "ignore_eos":
        request.sampling.ignore_eos = True
    else:
        kind = pb.Sampling.DESCRIPTOR.fields_by_name[name].type
        value = EXAMPLES[name]
        setattr(
            request.sampling,
            name,
            value if kind == pb.Sampling.DESCRIPTOR.fields_by_name[name].TYPE_DOUBLE else int(value),
        )


def _chat(request: pb.GenerateRequest, arguments: Mapping[str, str]) -> None:
    template = Struct()
    template.update(dict(arguments))
    message = pb.ChatMessage(role=pb.CHAT_ROLE_USER, content="Hello")
    request.chat.CopyFrom(pb.Chat(messages=[message], template_arguments=template))


OTHERS: Mapping[str, Callable[[pb.GenerateRequest], object]] = {
    "text": lambda request: setattr(request, "text", "Hello"),
    "token_ids": lambda request: request.token_ids.ids.extend([1, 2, 3]),
    "chat": lambda request: _chat(request, {}),
    "chat.template_arguments": lambda request: _chat(request, {"a": "b"}),
    "stopping.strings": lambda request: request.stopping.strings.append("stop"),
    "stopping.token_ids": lambda request: request.stopping.token_ids.append(1),
    "stopping.include_stop": lambda request: setattr(request.stopping, "include_stop", True),
    "logprobs.top": lambda request: setattr(request.logprobs, "top", 1),
    "logprobs.prompt_top": lambda request: setattr(request.logprobs, "prompt_top", 1),
    "adapter": lambda request: setattr(request, "adapter", "none-has-this-name"),
    "priority": lambda request: setattr(request, "priority", pb.PRIORITY_HIGH),
    "time_budget": lambda request: setattr(request.time_budget, "seconds", 5),
}
"""The other fields, each with what sets it."""


async def rejection_fault(calls: Calls, model: discovery_pb2.Model, path: str) -> str | None:
    """Ask for a capability that is declared absent; return what is wrong with the answer, None when it is a rejection.

    Modes that no request can ask for (such as determinism) are rejected by being declared absent.
    """
    if path == "tensor_parallel":
        return None  # no request can ask for it
    if path in MODES:
        return await _operation_fault(calls, model, path)
    base = pb.GenerateRequest(model=model.name, text="Hello")
    if is_declared(model, "sampling.max_tokens"):
        base.sampling.max_tokens = 4  # one that ignores the field should not fill the context first
    request = with_field(base, path)
    try:
        await calls.ask(calls.stubs.inference.Complete, request)
    except CallFailed as failed:
        return _refusal_fault(failed, path)
    return f"{path} is declared absent: expected a request that sets it to be rejected, found status OK"


def _refusal_fault(failed: CallFailed, path: str) -> str | None:
    if failed.code is grpc.StatusCode.UNIMPLEMENTED:
        return None
    named = [violation.field for violation in getattr(failed.error, "violations", ())]
    if failed.code is grpc.StatusCode.INVALID_ARGUMENT and path in named:
        return None
    found = f"{failed.code.name} naming {', '.join(named) or 'no field'}"
    return f"{path} is declared absent: expected INVALID_ARGUMENT naming it, found {found}"


async def _operation_fault(calls: Calls, model: discovery_pb2.Model, path: str) -> str | None:
    inference = calls.stubs.inference
    operations = {
        "tokenize": (inference.Tokenize, pb.TokenizeRequest(model=model.name, text="Hello")),
        "detokenize": (inference.Detokenize, pb.DetokenizeRequest(model=model.name, token_ids=[1])),
        "embed": (inference.Embed, pb.EmbedRequest(model=model.name, inputs=[pb.EmbedInput(text="Hello")])),
    }
    if path not in operations:
        return None
    try:
        await calls.ask(*operations[path])
    except CallFailed as failed:
        if failed.code is grpc.StatusCode.UNIMPLEMENTED:
            return None
        return f"{path} is declared absent: expected UNIMPLEMENTED, found {failed.code.name}"
    return f"{path} is declared absent: expected UNIMPLEMENTED, found status OK"
