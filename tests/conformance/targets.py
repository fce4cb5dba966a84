"""Targets that something is wrong with: real servers on loopback ports."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from bellhousing.v1 import discovery_pb2, discovery_pb2_grpc, inference_pb2_grpc
from bellhousing_conformance.preflight import CONTRACT


@asynccontextmanager
async def tcp_server(answer: bytes | None) -> AsyncIterator[str]:
    """A server that sends the same to everyone; None keeps the connection open and says nothing."""
    leave = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await leave.wait()
        else:
            await reader.read(1)
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        leave.set()
        server.close()


@asynccontextmanager
async def cutting(upstream: str, seed: int, *, between: tuple[int, int]) -> AsyncIterator[str]:
    """A way to a server on which each connection breaks after a random number of bytes of answers."""
    host, _, port = upstream.rpartition(":")
    random = Random(seed)
    ways: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: float) -> None:
        try:
            while left > 0 and (chunk := await reader.read(256)):
                left -= len(chunk)
                writer.write(chunk)
                await writer.drain()
        except OSError:  # the other side has left
            pass
        finally:
            writer.transport.abort()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(host, int(port))
        left = random.randint(*between)
        both = [asyncio.ensure_future(forward(*way)) for way in ((reader, outer, float("inf")), (inner, writer, left))]
        ways.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for way in both:  # both directions break together
            way.cancel()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


class Newer(discovery_pb2_grpc.DiscoveryServicer):
    async def ListModels(  # noqa: N802 - gRPC names it
        self, request: object, context: object
    ) -> discovery_pb2.ListModelsResponse:
        return discovery_pb2.ListModelsResponse(contract_version="v2")


class Listing(discovery_pb2_grpc.DiscoveryServicer):
    """Lists one model that declares `sampling.max_tokens`, and implements nothing else."""

    async def ListModels(  # noqa: N802 - gRPC names it
        self, request: object, context: object
    ) -> discovery_pb2.ListModelsResponse:
        model = discovery_pb2.Model(name="m", backend="b", engine="e", context_length=64)
        model.capabilities.parameters.add(field="sampling.max_tokens")
        model.capabilities.parameters.add(field="sampling.ignore_eos")
        return discovery_pb2.ListModelsResponse(contract_version=CONTRACT, models=[model])


class ListingOnce(Listing):
    """Lists its model once, and then says nothing any more."""

    def __init__(self) -> None:
        self.is_asked = False

    async def ListModels(  # noqa: N802 - gRPC names it
        self, request: object, context: object
    ) -> discovery_pb2.ListModelsResponse:
        if self.is_asked:
            await asyncio.sleep(3600)
        self.is_asked = True
        return await super().ListModels(request, context)


class Babbling(grpc.GenericRpcHandler):
    """Answers every method with bytes that are no message of the contract."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def handle(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
            yield b"\xff\xff\xff"

        return grpc.stream_stream_rpc_method_handler(handle)


Adding = Callable[[grpc.aio.Server], object]


def listing(server: grpc.aio.Server) -> None:
    discovery_pb2_grpc.add_DiscoveryServicer_to_server(Listing(), server)


def hanging(server: grpc.aio.Server) -> None:
    """Describes itself once; whatever is asked then, nothing comes."""

    class Hanging(inference_pb2_grpc.InferenceServicer):
        async def Generate(self, request: object, context: object) -> AsyncIterator[None]:  # noqa: N802 - gRPC names it
            await asyncio.sleep(3600)
            yield

    discovery_pb2_grpc.add_DiscoveryServicer_to_server(ListingOnce(), server)
    inference_pb2_grpc.add_InferenceServicer_to_server(Hanging(), server)


def babbling_inference(server: grpc.aio.Server) -> None:
    """Describes itself well; the rest is bytes that are no message."""
    listing(server)
    babbling(server)


def newer(server: grpc.aio.Server) -> None:
    discovery_pb2_grpc.add_DiscoveryServicer_to_server(Newer(), server)


def without_discovery(server: grpc.aio.Server) -> None:
    """Complete answers with an error of its own, so that it is there."""

    class Refusing(inference_pb2_grpc.InferenceServicer):
        async def Complete(self, request: object, context: Any) -> None:  # noqa: N802 - gRPC names it
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "model: expected a value")

    inference_pb2_grpc.add_InferenceServicer_to_server(Refusing(), server)


def babbling(server: grpc.aio.Server) -> None:
    server.add_generic_rpc_handlers([Babbling()])


@asynccontextmanager
async def grpc_server(*adding: Adding) -> AsyncIterator[str]:
    """A gRPC server that has health, and what is added."""
    server = grpc.aio.server()
    add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    for add in adding:
        add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
