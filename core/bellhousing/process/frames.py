"""What server and engine process say to each other: length-prefixed MessagePack frames over a pair of UNIX sockets.

The server opens an exchange with a Start, Generate or Call under a new id; the engine answers with frames of that id,
of which the last, and only it, is an End or a Failed. An id is never used twice. Id 0 belongs to no exchange.
"""

import struct
from typing import Any, get_type_hints

import msgspec
from pydantic import BaseModel

from bellhousing.backend import Backend
from bellhousing.events import Delta, Event, Finished, Progress, Started, TokenLogprob
from bellhousing.process.failures import Failure
from bellhousing.requests import GenerationRequest

WIRE_VERSION = 1
"""Both sides must have the same: they differ when the package was changed while the server ran."""

_LENGTH = struct.Struct(">I")


class Frame(msgspec.Struct, array_like=True, tag=True):
    """One message; `id` is its exchange."""

    id: int


class Start(Frame):
    """Build the backend (`module:qualname`) from JSON of its spec and options, and start it. Answer: one `Result`."""

    backend: str
    spec: str
    options: str


class Generate(Frame):
    """Generate. Answer: the backend's events."""

    request: GenerationRequest


class Call(Frame):
    """Call another method of the backend with arguments by name, each as MessagePack. Answer: one `Result`."""

    method: str
    arguments: dict[str, msgspec.Raw]


class Cancel(Frame):
    """End the exchange `id` at once; what it says from now on is not heard."""


class Hello(Frame):
    """The engine process is up. The first frame, with id 0."""

    version: int


class ProgressMade(Frame):
    """A step of `start`."""

    progress: Progress


class StartedEvent(Frame):
    """The backend yielded a `Started`."""

    event: Started


class DeltaEvent(Frame):
    """The backend yielded a `Delta`. Its fields in order, since msgspec has no type for `str | bytes`."""

    text: Any
    token_ids: tuple[int, ...]
    token_count: int
    logprobs: tuple[TokenLogprob, ...]
    index: int
    prompt_logprobs: tuple[TokenLogprob, ...]

    @property
    def event(self) -> Delta:
        """The delta."""
        return Delta(self.text, self.token_ids, self.token_count, self.logprobs, self.index, self.prompt_logprobs)


class FinishedEvent(Frame):
    """The backend yielded a `Finished`."""

    event: Finished


class Result(Frame):
    """What a method returned, as MessagePack."""

    value: msgspec.Raw


class End(Frame):
    """The exchange ended well."""


class Failed(Frame):
    """The exchange ended with an error."""

    failure: Failure


class Died(Frame):
    """The backend says that its engine died while the process lives. With id 0."""

    reason: str


Order = Start | Generate | Call | Cancel
Reply = Hello | ProgressMade | StartedEvent | DeltaEvent | FinishedEvent | Result | End | Failed | Died


def _to_plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"expected a value of the backend interface, found {type(value).__name__}")


def _from_plain(kind: type, value: object) -> object:
    return kind.model_validate(value) if issubclass(kind, BaseModel) else value


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_plain)
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order, dec_hook=_from_plain)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply, dec_hook=_from_plain)

encode = _encoder.encode
decode_order = _orders.decode
decode_reply = _replies.decode


def exchange_of(body: bytearray) -> int:
    """Return the exchange of a frame whose content is not of the declared types."""
    return int(msgspec.msgpack.decode(body)[1])


def event_frame(exchange: int, event: Event) -> Reply:
    """Return the frame of an event. Raises `TypeError` for anything else that a backend may yield."""
    if isinstance(event, Delta):
        if not isinstance(event.text, str | bytes):
            raise TypeError(f"text of a Delta: expected str or bytes, found {type(event.text).__name__}")
        return DeltaEvent(
            exchange,
            event.text,
            event.token_ids,
            event.token_count,
            event.logprobs,
            event.index,
            event.prompt_logprobs,
        )
    if isinstance(event, Started):
        return StartedEvent(exchange, event)
    if isinstance(event, Finished):
        return FinishedEvent(exchange, event)
    raise TypeError(f"generate() yielded a {type(event).__name__}, expected Started, Delta or Finished")


def encode_value(value: object) -> msgspec.Raw:
    """Return an argument or a result as it stands in a frame."""
    return msgspec.Raw(encode(value))


def decode_argument(method: str, name: str, value: msgspec.Raw) -> Any:
    """Return the argument `name` of a backend's method, of the type that `Backend` declares."""
    return msgspec.msgpack.decode(value, type=_types(method)[name], dec_hook=_from_plain)


def decode_result(method: str, value: msgspec.Raw) -> Any:
    """Return the result of a backend's method, of the type that `Backend` declares."""
    return msgspec.msgpack.decode(value, type=_types(method)["return"], dec_hook=_from_plain)


def _types(method: str) -> dict[str, Any]:
    return get_type_hints(getattr(Backend, method))


def packed(body: bytes) -> bytes:
    """Return a frame's body with its length in front."""
    return _LENGTH.pack(len(body)) + body


class FrameCutter:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytearray]:
        """Take the bytes that came; return the frames that are now complete, in order."""
        pending = self._pending
        pending += data
        bodies = []
        start, available = 0, len(pending)
        while available - start >= _LENGTH.size:
            body = start + _LENGTH.size
            end = body + _LENGTH.unpack_from(pending, start)[0]
            if end > available:
                break
            bodies.append(pending[body:end])
            start = end
        del pending[:start]
        return bodies
