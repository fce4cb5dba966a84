"""Calls to the target, with everything that came back kept as it came."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc

from bellhousing.client.connection import OPTIONS, Tls, call_metadata
from bellhousing.client.failures import failure
from bellhousing.client.messages import Stubs
from bellhousing.errors import BellhousingError
from bellhousing.v1 import inference_pb2 as pb


class CallFailed(Exception):
    """A call ended with a status that the check did not ask for. `error` is the client's translation of it."""

    def __init__(self, method: str, request: Message, code: grpc.StatusCode, error: BellhousingError) -> None:
        self.method = method
        self.message = request
        self.request = MessageToDict(request, preserving_proto_field_name=True)
        self.code = code
        self.error = error
        super().__init__(f"{method}: expected status OK, found {code.name}: {error.message or 'no message'}")

    @property
    def is_connection_lost(self) -> bool:
        """Tell whether the status may come from the connection: a server of the contract adds ErrorInfo to its own."""
        return self.code is grpc.StatusCode.UNAVAILABLE and not self.error.metadata


class TargetSilent(Exception):
    """A call brought nothing for `seconds`."""

    def __init__(self, method: str, seconds: float) -> None:
        self.method = method
        super().__init__(f"{method}: expected a message or a status within {seconds:g} s, found neither")


class Unreadable(Exception):
    """A call brought bytes that are no message of the contract."""

    def __init__(self, method: str) -> None:
        self.method = method
        super().__init__(f"{method}: expected a message of the contract, found bytes that cannot be parsed as one")


class Incomplete(Exception):
    """A call ended well without what its answer must have."""

    def __init__(self, method: str, lacking: str) -> None:
        self.method = method
        super().__init__(f"{method}: expected {lacking}, found status OK without any")


@dataclass(slots=True)
class Run:
    """One stream of Generate: every message in order, and for each when it came (`perf_counter_ns`)."""

    request: pb.GenerateRequest
    sent_ns: int
    messages: list[pb.GenerateResponse] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    failed: CallFailed | None = None

    @property
    def kinds(self) -> list[str]:
        """What each message says: `started`, `delta` or `finished`; empty for none of them."""
        return [str(message.WhichOneof("event") or "") for message in self.messages]

    @property
    def started(self) -> pb.Started:
        """The first Started; an empty one when none came."""
        return next((m.started for m in self.messages if m.HasField("started")), pb.Started())

    @property
    def finished(self) -> pb.Finished:
        """The first Finished; an empty one when none came."""
        return next((m.finished for m in self.messages if m.HasField("finished")), pb.Finished())

    @property
    def status(self) -> str:
        """The name of the gRPC status that it ended with."""
        return self.failed.code.name if self.failed else "OK"

    def ended_before(self, ns: int) -> bool:
        """Tell whether it had ended well before a time (`perf_counter_ns`): what was done then was not done to it."""
        return self.failed is None and self.stamps_ns[-1] < ns

    def deltas(self, index: int = 0) -> list[pb.Delta]:
        """Return the deltas of a sequence."""
        return [m.delta for m in self.messages if m.HasField("delta") and m.delta.index == index]

    def text(self, index: int = 0) -> str:
        """Return the text of a sequence."""
        return "".join(delta.text for delta in self.deltas(index))

    def ids(self, index: int = 0) -> list[int]:
        """Return the token ids of a sequence."""
        return [token for delta in self.deltas(index) for token in delta.token_ids]

    def logprobs(self, index: int = 0) -> list[pb.TokenLogprob]:
        """Return what is told of each token of a sequence."""
        return [entry for delta in self.deltas(index) for entry in delta.logprobs]

    def tokens(self, index: int = 0) -> int:
        """Return the number of tokens that the deltas of a sequence count."""
        return sum(delta.token_count for delta in self.deltas(index))

    def end(self, index: int = 0) -> pb.SequenceEnd:
        """Return how a sequence ended; an empty message when Finished does not tell."""
        return next((end for end in self.finished.sequences if end.index == index), pb.SequenceEnd())

    def reason(self, index: int = 0) -> str:
        """Return why a sequence ended, without the enum's prefix: `EOS`, `MAX_TOKENS`."""
        number = self.end(index).finish_reason
        known = number in pb.FinishReason.values()
        return pb.FinishReason.Name(number).removeprefix("FINISH_REASON_") if known else str(number)


@dataclass(frozen=True, slots=True)
class Address:
    """How a target is reached."""

    address: str
    tls: Tls | None = None
    token: str = field(default="", repr=False)
    insecure: bool = False


class Calls:
    """A connection to a target. Nothing is tried again, and no call may be silent for more than `silence` seconds.

    The limit is this side's: no gRPC deadline is sent, which the target would have to act on. `window` is how many
    bytes of a stream may be on their way to a reader that pauses; unless told, gRPC finds it, which may be megabytes.
    """

    def __init__(self, where: Address, silence: float, *, window: int | None = None) -> None:
        self.where = where
        self.silence = silence
        self.metadata = call_metadata(
            where.address, token=where.token, tenant="", is_encrypted=where.tls is not None, insecure=where.insecure
        )
        # A pool of its own: gRPC would share a connection with other channels to the address.
        options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500)]
        if window is not None:
            options += [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", window)]
        self.channel = (
            grpc.aio.secure_channel(where.address, where.tls.credentials(), options=options)
            if where.tls
            else grpc.aio.insecure_channel(where.address, options=options)
        )
        self.stubs = Stubs(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close()

    async def ask(self, method: Callable[..., Awaitable[Any]], request: Message) -> Any:
        """Return the answer of a unary method of a stub. Raises `CallFailed`, `TargetSilent` and `Unreadable`."""
        name = _name(method)
        try:
            async with asyncio.timeout(self.silence):
                answer = await method(request, metadata=self.metadata)
        except TimeoutError as error:
            raise TargetSilent(name, self.silence) from error
        except grpc.aio.AioRpcError as error:
            raise CallFailed(name, request, error.code(), failure(error)) from error
        if answer is None:  # what gRPC makes of bytes that the message's class refuses
            raise Unreadable(name)
        return answer

    async def stream(
        self,
        request: pb.GenerateRequest,
        *,
        until: Callable[[Run], bool] | None = None,
        deadline: float | None = None,
    ) -> Run:
        """Generate to the end, or cancel when `until` says so after a message; a failure is in the result.

        `deadline` is the gRPC deadline, in seconds from now. Only the server is told of it: gRPC's own timer on this
        side would end the call whatever the server does. Raises `TargetSilent`, `Unreadable` and `Incomplete`.
        """
        run = Run(request, time.perf_counter_ns())
        told = () if deadline is None else (("grpc-timeout", f"{max(1, round(deadline * 1000))}m"),)
        call = self.stubs.inference.Generate(request, metadata=(*self.metadata, *told))
        try:
            while await self._read(call, run):
                if until is not None and until(run):
                    break
            if not run.messages:
                raise Incomplete("Generate", "messages")
        except grpc.aio.AioRpcError as error:
            run.failed = CallFailed("Generate", request, error.code(), failure(error))
        finally:
            call.cancel()
        return run

    async def hold(self, request: pb.GenerateRequest, began: asyncio.Event) -> None:
        """Open a stream, set `began` at its first message, and read no more until cancelled: a reader that pauses.

        Raises `CallFailed` and `TargetSilent`.
        """
        call, run = self.stubs.inference.Generate(request, metadata=self.metadata), Run(request, time.perf_counter_ns())
        try:
            await self._read(call, run)
            began.set()
            await asyncio.Event().wait()
        except grpc.aio.AioRpcError as error:
            raise CallFailed("Generate", request, error.code(), failure(error)) from error
        finally:
            call.cancel()

    async def _read(self, call: Any, run: Run) -> bool:
        """Take a message; tell whether there was one."""
        try:
            async with asyncio.timeout(self.silence):
                message = await call.read()
        except TimeoutError as error:
            raise TargetSilent("Generate", self.silence) from error
        if message is grpc.aio.EOF:
            return False
        if message is None:
            raise Unreadable("Generate")
        run.stamps_ns.append(time.perf_counter_ns())
        run.messages.append(message)
        return True


def tls_of(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    """Return TLS settings; None when nothing asks for TLS."""
    return Tls(ca, certificate, key) if ca or certificate or key else None


def _name(method: Any) -> str:
    """Return a method's own name from its stub."""
    path = getattr(method, "_method", b"call")
    return (path.decode() if isinstance(path, bytes) else str(path)).rpartition("/")[2]
