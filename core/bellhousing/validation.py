"""From a `GenerateRequest` message to a `GenerationRequest`: checked against the contract and the model's capabilities.

Every fault is found before anything is refused, one `Violation` a field. A field that the model lacks is refused,
unless its value asks for nothing (such as `top_p = 1`) or the request is `best_effort`.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from google.protobuf.json_format import MessageToDict

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import FIELDS, Range
from bellhousing.errors import ContextOverflow, InvalidRequest, Violation
from bellhousing.requests import (
    Chat,
    ChatMessage,
    GenerationRequest,
    Priority,
    Prompt,
    Role,
    Sampling,
    Stopping,
    StructuredOutput,
)
from bellhousing.v1 import inference_pb2 as pb

NEUTRAL: Mapping[str, float] = {
    "sampling.min_tokens": 0,
    "sampling.top_p": 1,
    "sampling.top_k": 0,
    "sampling.min_p": 0,
    "sampling.typical_p": 1,
    "sampling.repetition_penalty": 1,
    "sampling.presence_penalty": 0,
    "sampling.frequency_penalty": 0,
    "sampling.n": 1,
    "sampling.ignore_eos": False,
}
"""Values that ask for nothing: a model that lacks the field honours them by lacking it."""

INDISPENSABLE = frozenset({"text", "token_ids", "chat", "adapter"})
"""Fields that `best_effort` cannot ignore: without them the output would be another request's."""

ROLES: Mapping[int, Role] = {
    pb.CHAT_ROLE_SYSTEM: "system",
    pb.CHAT_ROLE_USER: "user",
    pb.CHAT_ROLE_ASSISTANT: "assistant",
    pb.CHAT_ROLE_TOOL: "tool",
}
PRIORITIES: Mapping[int, Priority] = {
    pb.PRIORITY_UNSPECIFIED: "normal",
    pb.PRIORITY_LOW: "low",
    pb.PRIORITY_NORMAL: "normal",
    pb.PRIORITY_HIGH: "high",
}
MAX_STOP_BYTES = 256
MAX_ID_LENGTH = 128
BYTES_PER_TOKEN = 3
"""Low estimate of a token's length in bytes, for admission only."""


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """A request that may go on: what the backend gets, and what only core needs.

    `ignored` maps fields to the reason they were ignored, `time_budget` is in seconds, `estimated_tokens` counts the
    prompt and the longest output.
    """

    request: GenerationRequest
    ignored: Mapping[str, str]
    time_budget: float | None
    coalesce: bool
    estimated_tokens: int


def accept(message: pb.GenerateRequest, info: ModelInfo) -> AcceptedRequest:
    """Return the request checked for a model. Raises `InvalidRequest` or `ContextOverflow`."""
    check = _Check(message, info)
    present = dict(_set_fields(message))
    for field, value in present.items():
        check.field(field, value)
    check.whole()
    if check.violations:
        raise InvalidRequest(check.violations)
    honoured = {field: value for field, value in present.items() if field not in check.ignored}
    request = _request(message, info, honoured)
    if isinstance(request.prompt, tuple) and len(request.prompt) >= info.context_length:
        raise ContextOverflow(len(request.prompt), info.context_length)
    return AcceptedRequest(
        request=request,
        ignored=check.ignored,
        time_budget=message.time_budget.ToNanoseconds() / 1e9 if message.HasField("time_budget") else None,
        coalesce=message.stream.coalescing != pb.COALESCING_NEVER,
        estimated_tokens=_estimate(request, info),
    )


def _set_fields(message: pb.GenerateRequest) -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every field that the client set, as `capabilities.FIELDS` names them."""
    kind = message.WhichOneof("prompt")
    if kind:
        yield kind, getattr(message, kind)
    for group in ("chat", "sampling", "stopping", "logprobs", "structured_output"):
        for descriptor, value in getattr(message, group).ListFields():
            yield f"{group}.{descriptor.name}", value
    for descriptor, value in message.ListFields():
        if descriptor.name in ("adapter", "priority", "time_budget"):
            yield descriptor.name, value


class _Check:
    """Collects the violations of one request."""

    def __init__(self, message: pb.GenerateRequest, info: ModelInfo) -> None:
        self.message = message
        self.info = info
        self.violations: list[Violation] = []
        self.ignored: dict[str, str] = {}

    def wrong(self, field: str, description: str) -> None:
        self.violations.append(Violation(field, description))

    def field(self, field: str, value: Any) -> None:
        """Check one set field: is it honoured, and is its value in range."""
        if field in ("chat.add_generation_prompt", "chat.messages"):
            return
        limits = self.info.capabilities.range_of(field)
        if limits is None:
            self._unsupported(field, value)
        else:
            self._value(field, value, limits)

    def _unsupported(self, field: str, value: Any) -> None:
        if field in NEUTRAL and value == NEUTRAL[field]:
            return
        reason = f"not supported by the engine of this model ({self.info.engine})"
        if self.message.best_effort and field not in INDISPENSABLE:
            self.ignored[field] = reason
        else:
            self.wrong(field, reason)

    def _value(self, field: str, value: Any, limits: Range) -> None:
        if field in _SPECIAL:
            _SPECIAL[field](self, field, value, limits)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            fault = limits.violation(value)
            if fault:
                self.wrong(field, fault)

    def items(self, field: str, count: int, limits: Range) -> None:
        if limits.max_items is not None and count > limits.max_items:
            self.wrong(field, f"must have at most {limits.max_items} entries, found {count}")

    def vocabulary(self, field: str, ids: Iterable[int]) -> None:
        size = self.info.vocabulary_size
        outside = next((i for i in ids if i >= size), None) if size else None
        if outside is not None:
            self.wrong(field, f"must be token ids below {size}, found {outside}")

    def whole(self) -> None:
        """Check what concerns several fields."""
        message = self.message
        if message.WhichOneof("prompt") is None:
            self.wrong("prompt", "exactly one of text, token_ids and chat must be set, found none")
        if message.priority not in PRIORITIES:
            self.wrong("priority", f"must be a Priority, found {message.priority}")
        if message.stream.coalescing not in pb.Coalescing.values():
            self.wrong("stream.coalescing", f"must be a Coalescing, found {message.stream.coalescing}")
        name = message.request_id
        if len(name) > MAX_ID_LENGTH or not (name.isascii() and (not name or name.isprintable())):
            self.wrong("request_id", f"must be at most {MAX_ID_LENGTH} printable ASCII characters, found {len(name)}")
        sampling = message.sampling
        if sampling.ignore_eos and message.structured_output.WhichOneof("kind"):
            # A form that is complete allows nothing but the end.
            self.wrong("sampling.ignore_eos", "must not be true together with structured_output")
        if (
            sampling.HasField("min_tokens")
            and sampling.HasField("max_tokens")
            and sampling.min_tokens > sampling.max_tokens
        ):
            self.wrong(
                "sampling.min_tokens", f"must be at most max_tokens {sampling.max_tokens}, found {sampling.min_tokens}"
            )


def _check_text(check: _Check, field: str, value: str, _: Range) -> None:
    if not value:
        check.wrong(field, "must not be empty")


def _check_ids(check: _Check, field: str, value: pb.TokenIds, _: Range) -> None:
    if not value.ids:
        check.wrong(field, "must not be empty")
    check.vocabulary(field, value.ids)


def _check_chat(check: _Check, _field: str, value: pb.Chat, _: Range) -> None:
    if not value.messages:
        check.wrong("chat.messages", "must not be empty")
    for position, message in enumerate(value.messages):
        if message.role not in ROLES:
            check.wrong(
                f"chat.messages[{position}].role", f"must be a ChatRole other than UNSPECIFIED, found {message.role}"
            )


def _check_logit_bias(check: _Check, field: str, value: Mapping[int, float], limits: Range) -> None:
    check.items(field, len(value), limits)
    check.vocabulary(field, value)
    for token_id, bias in value.items():
        fault = limits.violation(bias)
        if fault:
            check.wrong(f"{field}[{token_id}]", fault)


def _check_stop_strings(check: _Check, field: str, value: Iterable[str], limits: Range) -> None:
    strings = list(value)
    check.items(field, len(strings), limits)
    for position, text in enumerate(strings):
        size = len(text.encode())
        if not 1 <= size <= MAX_STOP_BYTES:
            check.wrong(f"{field}[{position}]", f"must have 1 to {MAX_STOP_BYTES} bytes, found {size}")


def _check_stop_ids(check: _Check, field: str, value: Iterable[int], limits: Range) -> None:
    ids = list(value)
    check.items(field, len(ids), limits)
    check.vocabulary(field, ids)


def _check_json_schema(check: _Check, field: str, value: str, _: Range) -> None:
    try:
        schema = json.loads(value)
    except ValueError as error:
        check.wrong(field, f"must be JSON text, found a fault: {error}")
        return
    except RecursionError:
        check.wrong(field, "must be JSON text, found one nested too deeply")
        return
    if not isinstance(schema, dict | bool):
        check.wrong(field, f"must be a JSON object or boolean, found {type(schema).__name__}")


def _check_json_object(check: _Check, field: str, value: bool, _: Range) -> None:  # noqa: FBT001 - a field's value
    if not value:
        check.wrong(field, "must be true when it is set, found false")


def _check_choice(check: _Check, field: str, value: pb.StructuredOutput.Choice, limits: Range) -> None:
    check.items(field, len(value.options), limits)
    if not value.options or not all(value.options):
        check.wrong(field, "must have at least one option, none of them empty")


def _check_time_budget(check: _Check, field: str, value: Any, _: Range) -> None:
    if value.ToNanoseconds() <= 0:
        check.wrong(field, f"must be above 0 s, found {value.ToNanoseconds() / 1e9:g} s")


_SPECIAL: Mapping[str, Callable[[_Check, str, Any, Range], None]] = {
    "text": _check_text,
    "token_ids": _check_ids,
    "chat": _check_chat,
    "sampling.logit_bias": _check_logit_bias,
    "stopping.strings": _check_stop_strings,
    "stopping.token_ids": _check_stop_ids,
    "structured_output.json_schema": _check_json_schema,
    "structured_output.json_object": _check_json_object,
    "structured_output.regex": _check_text,
    "structured_output.grammar": _check_text,
    "structured_output.choice": _check_choice,
    "time_budget": _check_time_budget,
}


def _request(message: pb.GenerateRequest, info: ModelInfo, honoured: Mapping[str, Any]) -> GenerationRequest:
    stopping = message.stopping
    return GenerationRequest(
        id=message.request_id or secrets.token_hex(8),
        prompt=prompt_of(message),
        sampling=_sampling(info, honoured),
        stopping=Stopping(
            tuple(stopping.strings),
            tuple(stopping.token_ids) if "stopping.token_ids" in honoured else (),
            stopping.include_stop,
        ),
        logprobs=honoured.get("logprobs.top"),
        prompt_logprobs=honoured.get("logprobs.prompt_top"),
        structured_output=_structured(honoured),
        adapter=message.adapter,
        priority=PRIORITIES[message.priority],
    )


def prompt_of(message: pb.GenerateRequest | pb.TokenizeRequest) -> Prompt:
    """Return the prompt of a message that has one."""
    if isinstance(message, pb.GenerateRequest) and message.WhichOneof("prompt") == "token_ids":
        return tuple(message.token_ids.ids)
    if message.HasField("chat"):
        return chat_of(message.chat)
    return message.text


def chat_of(chat: pb.Chat) -> Chat:
    """Return a conversation; an unset `add_generation_prompt` means true."""
    return Chat(
        messages=tuple(ChatMessage(ROLES[m.role], m.content, m.name) for m in chat.messages),
        add_generation_prompt=chat.add_generation_prompt if chat.HasField("add_generation_prompt") else True,
        template_arguments=MessageToDict(chat.template_arguments),
    )


def _sampling(info: ModelInfo, honoured: Mapping[str, Any]) -> Sampling:
    prefix = "sampling."
    asked = {field.removeprefix(prefix): value for field, value in honoured.items() if field.startswith(prefix)}
    if "logit_bias" in asked:
        asked["logit_bias"] = dict(asked["logit_bias"])
    supported = info.capabilities.parameters
    lacking = {name for name in asked if prefix + name not in supported}
    sampling = replace(info.defaults, **{name: value for name, value in asked.items() if name not in lacking})
    if sampling.seed is None and "sampling.seed" in supported:
        highest = supported["sampling.seed"].maximum or FIELDS["sampling.seed"].maximum
        sampling = replace(sampling, seed=secrets.randbelow(int(highest or 0) + 1))
    return sampling


def _structured(honoured: Mapping[str, Any]) -> StructuredOutput | None:
    if "structured_output.json_schema" in honoured:
        return StructuredOutput("json_schema", honoured["structured_output.json_schema"])
    if "structured_output.json_object" in honoured:
        return StructuredOutput("json_object")
    if "structured_output.regex" in honoured:
        return StructuredOutput("regex", honoured["structured_output.regex"])
    if "structured_output.grammar" in honoured:
        return StructuredOutput("grammar", honoured["structured_output.grammar"])
    if "structured_output.choice" in honoured:
        return StructuredOutput("choice", options=tuple(honoured["structured_output.choice"].options))
    return None


def _estimate(request: GenerationRequest, info: ModelInfo) -> int:
    """Return the most tokens that the request can take up: the prompt's estimate and the longest output."""
    prompt = request.prompt
    if isinstance(prompt, Chat):
        size = sum(len(m.content) for m in prompt.messages) // BYTES_PER_TOKEN + 8 * len(prompt.messages)
    else:
        size = len(prompt) if isinstance(prompt, tuple) else len(prompt.encode()) // BYTES_PER_TOKEN + 1
    room = max(1, info.context_length - size)
    output = min(request.sampling.max_tokens or room, room)
    return min(size, info.context_length) + output * (request.sampling.n or 1)


def sampling_message(sampling: Sampling) -> pb.Sampling:
    """Return the message of a Sampling; unset fields stay unset."""
    message = pb.Sampling()
    for item in fields(sampling):
        value = getattr(sampling, item.name)
        if value is None:
            continue
        if item.name == "logit_bias":
            message.logit_bias.update(value)
        else:
            setattr(message, item.name, value)
    return message
