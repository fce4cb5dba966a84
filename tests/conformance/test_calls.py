"""What a call tells the target, and what it leaves to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bellhousing.testing import serving
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address, Calls, Run, TargetSilent

DEADLINE = 0.4
SLOW = {"inter_token_seconds": 0.02, "end_probability": 0.0}


@dataclass
class Way:
    """A way to a server; nothing of the server's comes through once it is cut."""

    address: str = ""
    is_cut: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def way_to(upstream: str) -> AsyncIterator[Way]:
    host, _, port = upstream.rpartition(":")
    way = Way()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_back: bool) -> None:
        while chunk := await reader.read(4096):
            if not (is_back and way.is_cut.is_set()):
                writer.write(chunk)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(host, int(port))
        there = asyncio.ensure_future(forward(reader, outer, is_back=False))
        await forward(inner, writer, is_back=True)
        there.cancel()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    way.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()


def request(model: str) -> pb.GenerateRequest:
    return pb.GenerateRequest(model=model, text="Hello", sampling=pb.Sampling(max_tokens=1000))


async def test_a_deadline_is_the_servers_to_keep() -> None:
    async with serving("simulator", options=SLOW) as served, Calls(Address(served.address), 5.0) as calls:
        run = await calls.stream(request(served.model.config.name), deadline=DEADLINE)
    assert run.failed is not None
    assert run.failed.code.name == "DEADLINE_EXCEEDED"


async def test_this_side_has_no_timer_for_a_deadline() -> None:
    async with serving("simulator", options=SLOW) as served, way_to(served.address) as way:

        def cut(run: Run) -> bool:
            if run.deltas():
                way.is_cut.set()
            return False

        async with Calls(Address(way.address), 3 * DEADLINE) as calls:
            with pytest.raises(TargetSilent):
                await calls.stream(request(served.model.config.name), until=cut, deadline=DEADLINE)
