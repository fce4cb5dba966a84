"""Targets that something is wrong with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from grpc_health.v1 import health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from bellhousing.v1 import discovery_pb2, discovery_pb2_grpc


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


class Newer(discovery_pb2_grpc.DiscoveryServicer):
    async def ListModels(  # noqa: N802 - gRPC names it
        self, request: object, context: object
    ) -> discovery_pb2.ListModelsResponse:
        return discovery_pb2.ListModelsResponse(contract_version="v2")


@asynccontextmanager
async def grpc_server(*, is_newer: bool = False) -> AsyncIterator[str]:
    """A gRPC server that has health and nothing else; or the contract of a later version."""
    server = grpc.aio.server()
    add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    if is_newer:
        discovery_pb2_grpc.add_DiscoveryServicer_to_server(Newer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
