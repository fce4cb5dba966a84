"""A gRPC proxy in front of a real target, with a saboteur in it."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import Default

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

GENERATE = "/bellhousing.v1.Inference/Generate"
COMPLETE = "/bellhousing.v1.Inference/Complete"
DROPPED_KEYS = ("user-agent", "grpc-")
TIMER_SECONDS = 0.02
"""How long before a deadline an end counts as the deadline's: timers are not exact."""

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


@asynccontextmanager
async def proxied(upstream: str, saboteur: type[Saboteur]) -> AsyncIterator[str]:
    """Run the proxy for the body; yield its address."""
    options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
    async with grpc.aio.insecure_channel(upstream, options=options) as channel:
        proxy = _Proxy(channel, saboteur)
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers([proxy])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)
            await proxy.close()


class _Proxy(grpc.GenericRpcHandler):
    """Takes every method as bytes in both directions: on the wire a unary call is a stream of one message."""

    def __init__(self, channel: grpc.aio.Channel, saboteur: type[Saboteur]) -> None:
        self._channel = channel
        self._saboteur = saboteur
        self._orphans: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End the calls that outlived their clients."""
        for task in self._orphans:
            task.cancel()
        await asyncio.gather(*self._orphans, return_exceptions=True)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method."""
        method = str(handler_call_details.method)

        async def handle(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for answer in self._handled(method, requests, context):
                yield answer

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _handled(self, method: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        saboteur = self._saboteur()
        sent = [_asked(saboteur, method, raw) async for raw in requests]
        metadata = [(k, v) for k, v in context.invocation_metadata() if not k.startswith(DROPPED_KEYS)]
        left = context.time_remaining()
        ends = math.inf if left is None else time.monotonic() + left
        timeout = left if saboteur.forwards_deadline else None
        call: Any = self._channel.stream_stream(method)(iter(sent), metadata=metadata, timeout=timeout)  # type: ignore[arg-type] # bytes: no serialiser is given
        is_over = False
        raws = call if saboteur.forwards_cancel and saboteur.forwards_deadline else self._read_apart(call)
        try:
            async for answer in self._answers(saboteur, method, raws):
                yield answer
            is_over = True
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            is_over = True
            answer = saboteur.failed(method.rpartition("/")[2])
            if answer is None:
                code = await saboteur.refused(error.code())
                await context.abort(code, error.details() or "", tuple(error.trailing_metadata() or ()))
            yield answer.SerializeToString()
        finally:
            is_late = time.monotonic() > ends - TIMER_SECONDS
            if is_over or (saboteur.forwards_deadline if is_late else saboteur.forwards_cancel):
                call.cancel()

    def _answers(self, saboteur: Saboteur, method: str, raws: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if method == GENERATE:
            return _generated(saboteur, raws)
        return _answered(saboteur, method, raws)

    async def _read_apart(self, call: Any) -> AsyncIterator[bytes]:
        """Yield the messages of a call; when nobody wants them any more, read it to its end all the same.

        gRPC cancels a call when the task that reads it is cancelled, which is how a client's leaving arrives here: so
        each message is read in a task of its own.
        """
        is_over = False
        reading = asyncio.ensure_future(call.read())
        try:
            while (raw := await asyncio.shield(reading)) is not grpc.aio.EOF:
                yield raw
                reading = asyncio.ensure_future(call.read())
            is_over = True
        except grpc.aio.AioRpcError:
            is_over = True
            raise
        finally:
            if not is_over:
                self._adopt(call, reading)

    def _adopt(self, call: Any, reading: "asyncio.Future[Any]") -> None:
        async def read() -> None:
            with suppress(grpc.aio.AioRpcError):
                raw = await reading
                while raw is not grpc.aio.EOF:
                    raw = await call.read()

        task = asyncio.ensure_future(read())
        self._orphans.add(task)
        task.add_done_callback(self._orphans.discard)


def _asked(saboteur: Saboteur, method: str, raw: bytes) -> bytes:
    if method not in (GENERATE, COMPLETE):
        return raw
    request = pb.GenerateRequest.FromString(raw)
    saboteur.asked(request)
    return request.SerializeToString()


async def _generated(saboteur: Saboteur, raws: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async def messages() -> AsyncIterator[pb.GenerateResponse]:
        async for raw in raws:
            yield pb.GenerateResponse.FromString(raw)

    async for message in saboteur.stream(messages()):
        yield message.SerializeToString()


async def _answered(saboteur: Saboteur, method: str, raws: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    build = _response_class(method)
    async for raw in raws:
        answer = build() if build else None
        if answer is None:
            yield raw
            continue
        answer.ParseFromString(raw)
        if method == COMPLETE:
            saboteur.completed(answer)
        else:
            saboteur.answered(method.rpartition("/")[2], answer)
        yield answer.SerializeToString()


def _response_class(method: str) -> Callable[[], Any] | None:
    """Return the class of a method's answers; None for a method that the suite does not know."""
    service, _, name = method.strip("/").partition("/")
    try:
        found = Default().FindMethodByName(f"{service}.{name}")
    except KeyError:
        return None
    return message_factory.GetMessageClass(found.output_type)
