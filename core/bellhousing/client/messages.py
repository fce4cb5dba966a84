"""What both clients need beside generation: requests of one line, and reading streams of progress."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from bellhousing.v1 import admin_pb2, admin_pb2_grpc, discovery_pb2_grpc, inference_pb2_grpc
from bellhousing.v1 import inference_pb2 as pb


class Stubs:
    """The stubs of a channel, synchronous or not."""

    def __init__(self, channel: Any) -> None:
        self.inference: Any = inference_pb2_grpc.InferenceStub(channel)
        self.discovery: Any = discovery_pb2_grpc.DiscoveryStub(channel)
        self.admin: Any = admin_pb2_grpc.AdminStub(channel)


@dataclass(slots=True)
class Received:
    """What a stream has brought so far. `ttft` is in seconds from the call to the first delta with a token."""

    started: pb.Started | None = None
    finished: pb.Finished | None = None
    ttft: float | None = None
    elapsed: float = 0.0
    pieces: list[str] = field(default_factory=list)

    def take(self, message: pb.GenerateResponse, elapsed: float) -> pb.Delta | None:
        """Take a message that came `elapsed` seconds after the call; return its delta, if it is one."""
        kind = message.WhichOneof("event")
        self.elapsed = elapsed
        if kind == "started":
            self.started = message.started
        elif kind == "finished":
            self.finished = message.finished
        elif kind == "delta":
            if self.ttft is None and message.delta.token_count:
                self.ttft = elapsed
            if message.delta.index == 0:
                self.pieces.append(message.delta.text)
            return message.delta
        return None

    @property
    def text(self) -> str:
        """The text of the first sequence so far."""
        return "".join(self.pieces)


def tokenize_request(prompt: str, model: str, *, add_special: bool, with_pieces: bool) -> pb.TokenizeRequest:
    """Return the request."""
    return pb.TokenizeRequest(model=model, text=prompt, add_special=add_special, with_pieces=with_pieces)


def embed_request(inputs: list[str], model: str, dimensions: int | None) -> pb.EmbedRequest:
    """Return the request."""
    return pb.EmbedRequest(model=model, inputs=[pb.EmbedInput(text=text) for text in inputs], dimensions=dimensions)


class AdapterFields(TypedDict, total=False):
    """What may be said of an adapter: its tenant, its tags, and whether it is pinned."""

    tenant: str
    tags: Sequence[str]
    pinned: bool


class AdapterFilter(TypedDict, total=False):
    """Which adapters are wanted, as the fields of `ListAdaptersRequest` of these names."""

    name_prefix: str
    states: Sequence[admin_pb2.AdapterState]
    tenant: str
    tags: Sequence[str]
    base_model: str
