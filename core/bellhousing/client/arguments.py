"""From keyword arguments to a `GenerateRequest`, the same for both clients."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from google.protobuf import duration_pb2

from bellhousing.requests import ChatMessage
from bellhousing.v1 import inference_pb2 as pb

Message = ChatMessage | Mapping[str, str]
"""A chat message: `{"role": "user", "content": "hi"}`, or a `ChatMessage`."""

SAMPLING = frozenset(pb.Sampling.DESCRIPTOR.fields_by_name)
STRUCTURED = ("json_schema", "json_object", "regex", "grammar", "choice")


class GenerateArguments(TypedDict, total=False):
    """What a generation may be told; the meaning of each is in `inference.proto`. `time_budget` is in seconds."""

    model: str
    max_tokens: int
    min_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    logit_bias: Mapping[int, float]
    n: int
    ignore_eos: bool
    stop: Sequence[str]
    stop_token_ids: Sequence[int]
    include_stop: bool
    logprobs: int
    prompt_logprobs: int
    json_schema: str
    json_object: bool
    regex: str
    grammar: str
    choice: Sequence[str]
    adapter: str
    priority: Literal["low", "normal", "high"]
    time_budget: float
    best_effort: bool
    request_id: str
    coalescing: bool
    add_generation_prompt: bool
    template_arguments: Mapping[str, Any]


def generate_request(
    prompt: str | Iterable[int] | None, messages: Iterable[Message] | None, arguments: GenerateArguments
) -> pb.GenerateRequest:
    """Return the request. Raises `TypeError` unless exactly one of prompt and messages is given."""
    if (prompt is None) == (messages is None):
        raise TypeError("expected exactly one of prompt and messages")
    given: dict[str, Any] = {key: value for key, value in arguments.items() if value is not None}
    request = pb.GenerateRequest(
        model=given.pop("model", ""),
        adapter=given.pop("adapter", ""),
        best_effort=given.pop("best_effort", False),
        request_id=given.pop("request_id", ""),
    )
    if messages is not None:
        request.chat.CopyFrom(chat_message(messages, given))
    elif isinstance(prompt, str):
        request.text = prompt
    elif prompt is not None:
        request.token_ids.ids.extend(prompt)
    _fill(request, given)
    if given:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(given))}")
    return request


def _fill(request: pb.GenerateRequest, given: dict[str, Any]) -> None:
    """Move the arguments into their groups."""
    request.sampling.MergeFrom(pb.Sampling(**{key: given.pop(key) for key in SAMPLING & given.keys()}))
    request.stopping.strings.extend(_strings(given.pop("stop", ())))
    request.stopping.token_ids.extend(given.pop("stop_token_ids", ()))
    if "include_stop" in given:
        request.stopping.include_stop = given.pop("include_stop")
    if "logprobs" in given:
        request.logprobs.top = given.pop("logprobs")
    if "prompt_logprobs" in given:
        request.logprobs.prompt_top = given.pop("prompt_logprobs")
    for kind in STRUCTURED:
        if kind == "choice" and kind in given:
            request.structured_output.choice.options.extend(given.pop(kind))
        elif kind in given:
            setattr(request.structured_output, kind, given.pop(kind))
    if "priority" in given:
        request.MergeFrom(pb.GenerateRequest(priority=f"PRIORITY_{given.pop('priority').upper()}"))
    if "time_budget" in given:
        request.time_budget.CopyFrom(duration_pb2.Duration(nanos=0))
        request.time_budget.FromNanoseconds(int(given.pop("time_budget") * 1e9))
    if "coalescing" in given:
        request.stream.coalescing = pb.COALESCING_ALLOWED if given.pop("coalescing") else pb.COALESCING_NEVER


def _strings(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def chat_message(messages: Iterable[Message], given: dict[str, Any]) -> pb.Chat:
    """Return a conversation, taking its options out of `given`."""
    chat = pb.Chat()
    for message in messages:
        if isinstance(message, ChatMessage):
            message = {  # noqa: PLW2901 - the same message in its other form
                "role": message.role,
                "content": message.content,
                "name": message.name,
            }
        role = pb.ChatRole.Value(f"CHAT_ROLE_{message['role'].upper()}")
        chat.messages.add(role=role, content=message["content"], name=message.get("name", ""))
    if "add_generation_prompt" in given:
        chat.add_generation_prompt = given.pop("add_generation_prompt")
    if "template_arguments" in given:
        chat.template_arguments.update(given.pop("template_arguments"))
    return chat
