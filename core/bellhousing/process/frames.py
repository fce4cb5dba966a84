"""What server and engine process say to each other: length-prefixed MessagePack over a UNIX socket pair.

A frame is `(kind, stream, name, body)`. `stream` numbers a generation or a call, and is never used twice; `body` is the
MessagePack form of the value that kind and name call for. No pickle: a value is rebuilt as the one type expected there.
"""

import functools
import struct
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from pydantic import BaseModel

from bellhousing import errors
from bellhousing.backend import AdapterFiles, EmbeddingResult, EngineLoad, ModelInfo, TokenPiece
from bellhousing.errors import BellhousingError, ContextOverflow, EngineFault, InvalidRequest, NotFound, Violation
from bellhousing.events import Delta, Event, Finished, Progress, Started, TokenLogprob
from bellhousing.requests import Chat, GenerationRequest

VERSION = 1
_PREFIX = struct.Struct("<I")


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One message between the two processes."""

    kind: str
    stream: int = 0
    name: str = ""
    body: msgspec.Raw = msgspec.Raw(b"\xc0")


class ErrorBody(msgspec.Struct, frozen=True):
    """A `BellhousingError` on its way: its class and everything it carries."""

    kind: str
    message: str
    reason: str
    hint: str = ""
    backend: str = ""
    engine_code: str = ""
    retry_after: float | None = None
    metadata: dict[str, str] = {}
    violations: list[tuple[str, str]] = []
    prompt_tokens: int = 0
    context_length: int = 0
    resource: tuple[str, str, list[str]] = ("", "", [])


class DeltaBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A `Delta` on its way. Its text is str or bytes, which MessagePack tells apart and msgspec's unions cannot."""

    text: Any
    token_ids: tuple[int, ...]
    token_count: int
    index: int
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


class Init(msgspec.Struct, frozen=True):
    """What the engine process needs to build its backend. `spec` and `options` are JSON of the settings models."""

    version: int
    backend: str
    spec: str
    options: str


EVENTS: dict[str, type] = {"Started": Started, "Delta": DeltaBody, "Finished": Finished}
ARGUMENTS: dict[str, Any] = {
    "load": tuple[()],
    "tokenize": tuple[str | Chat, bool],
    "detokenize": tuple[list[int]],
    "embed": tuple[str | tuple[int, ...], bool],
    "load_adapter": tuple[AdapterFiles],
    "unload_adapter": tuple[str],
    "sleep": tuple[int],
    "wake": tuple[()],
}
RESULTS: dict[str, Any] = {
    "load": EngineLoad,
    "tokenize": list[TokenPiece],
    "detokenize": bytes,
    "embed": EmbeddingResult,
    "load_adapter": None,
    "unload_adapter": None,
    "sleep": None,
    "wake": None,
}
MODEL_INFO, REQUEST, PROGRESS = ModelInfo, GenerationRequest, Progress


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"expected a value of the backend interface, found {type(value).__name__}")


def _rebuilt(kind: type, value: object) -> object:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_validate(value)
    raise TypeError(f"expected a type of the backend interface, found {kind!r}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_frames = msgspec.msgpack.Decoder(Frame)


@functools.cache
def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind, dec_hook=_rebuilt)


def encode(kind: str, stream: int = 0, name: str = "", value: object = None) -> bytes:
    """Return a frame's bytes with their length in front."""
    body = _encoder.encode(Frame(kind, stream, name, msgspec.Raw(_encoder.encode(value))))
    return _PREFIX.pack(len(body)) + body


def encode_event(stream: int, event: Event) -> bytes:
    """Return the frame of a backend's event."""
    if not isinstance(event, Delta):
        return encode("event", stream, type(event).__name__, event)
    body = DeltaBody(event.text, event.token_ids, event.token_count, event.index, event.logprobs, event.prompt_logprobs)
    return encode("event", stream, "Delta", body)


def decode_event(frame: Frame) -> Event:
    """Return the event of a frame."""
    found = decode(frame.body, EVENTS[frame.name])
    if isinstance(found, DeltaBody):
        return Delta(found.text, found.token_ids, found.token_count, found.logprobs, found.index, found.prompt_logprobs)
    return cast("Event", found)


def decode(body: msgspec.Raw, kind: Any) -> Any:
    """Return a frame's value as the type expected. Raises `msgspec.ValidationError` for anything else."""
    return _decoder(kind).decode(body)


class Parser:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take the bytes that came; yield the frames that are complete."""
        self._buffer += data
        position = 0
        while len(self._buffer) - position >= _PREFIX.size:
            (length,) = _PREFIX.unpack_from(self._buffer, position)
            end = position + _PREFIX.size + length
            if len(self._buffer) < end:
                break
            frame = bytes(self._buffer[position + _PREFIX.size : end])
            position = end
            yield _frames.decode(frame)
        del self._buffer[:position]


def error_body(error: BellhousingError) -> ErrorBody:
    """Return an error as it travels."""
    body = ErrorBody(
        type(error).__name__,
        error.message,
        error.reason,
        error.hint,
        error.backend,
        error.engine_code,
        error.retry_after,
        error.metadata,
    )
    if isinstance(error, InvalidRequest):
        return msgspec.structs.replace(body, violations=[(v.field, v.description) for v in error.violations])
    if isinstance(error, ContextOverflow):
        return msgspec.structs.replace(body, prompt_tokens=error.prompt_tokens, context_length=error.context_length)
    if isinstance(error, NotFound):
        return msgspec.structs.replace(body, resource=(error.kind, error.name, list(error.near)))
    return body


def error_from(body: ErrorBody) -> BellhousingError:
    """Return the error that `error_body` packed; a class that is not ours becomes `EngineFault`."""
    kind = getattr(errors, body.kind, EngineFault)
    if not (isinstance(kind, type) and issubclass(kind, BellhousingError)):
        kind = EngineFault
    if kind is InvalidRequest:
        error: BellhousingError = InvalidRequest(Violation(f, d) for f, d in body.violations)
    elif kind is ContextOverflow:
        error = ContextOverflow(body.prompt_tokens, body.context_length)
    elif kind is NotFound:
        error = NotFound(body.resource[0], body.resource[1], body.resource[2])
    else:
        error = kind(body.message)
    error.message, error.reason, error.hint = body.message, body.reason, body.hint
    error.backend, error.engine_code, error.retry_after = body.backend, body.engine_code, body.retry_after
    error.metadata = dict(body.metadata)
    return error
