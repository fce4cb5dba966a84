"""What many streams cost: memory of idle ones, and what a paused reader does to the others."""

import asyncio
import random
import time
from typing import Any

import grpc.aio

from bellhousing import AsyncClient
from bellhousing.v1 import inference_pb2 as pb
from benchmarks.contract import read
from benchmarks.figures import Figure, figure
from benchmarks.processes import Running, running
from benchmarks.servers import METHOD

STREAMS, BATCH, PAIRS = 2000, 200, 11
NEIGHBOURS, TOKENS = 4, 150


async def measure() -> list[Figure]:
    """Return both figures."""
    return [await idle_memory(), await paused_reader()]


async def idle_memory() -> Figure:
    """Return the server's memory for each of 2,000 streams that wait for their first token, in KiB."""
    wanted = pb.GenerateRequest(text="a").SerializeToString()
    with running("idle") as server:
        async with AsyncClient(server.address) as client, grpc.aio.insecure_channel(server.address) as channel:
            calls: list[Any] = await _opened(channel, wanted, BATCH, client)
            before = server.rss()
            calls += await _opened(channel, wanted, STREAMS, client)
            grown = server.rss() - before
            for call in calls:
                call.cancel()
    return figure("memory of an idle stream, 2,000 open", [grown / STREAMS / 1024], at_most=64, unit=" KiB")


async def _opened(channel: grpc.aio.Channel, wanted: bytes, count: int, client: AsyncClient) -> list[Any]:
    """Open streams in batches; return them once the engine has them all."""
    already = (await client.load()).running
    calls: list[Any] = []
    method: Any = channel.unary_stream(METHOD)
    while len(calls) < count:
        calls += [method(wanted) for _ in range(BATCH)]
        while (await client.load()).running < already + len(calls):
            await asyncio.sleep(0.05)
    return calls


async def paused_reader() -> Figure:
    """Return the neighbours' time with a paused reader beside them over their time without."""
    ratios = []
    with running("paced") as server:
        await _neighbours(server)
        for _ in range(PAIRS):
            found = {}
            for is_paused in random.sample([True, False], 2):
                found[is_paused] = await (_beside_paused(server) if is_paused else _neighbours(server))
            ratios.append(found[True] / found[False])
    return figure("time of streams beside a paused reader over alone", ratios, at_most=1.2)


async def _neighbours(server: Running) -> float:
    wanted = pb.GenerateRequest(text="a", sampling=pb.Sampling(max_tokens=TOKENS)).SerializeToString()
    async with grpc.aio.insecure_channel(server.address) as channel:
        await channel.channel_ready()
        began = time.perf_counter()
        await asyncio.gather(*(read(channel, wanted) for _ in range(NEIGHBOURS)))
        return time.perf_counter() - began


async def _beside_paused(server: Running) -> float:
    """Time the neighbours while another client opened a long stream and reads none of it."""
    wanted = pb.GenerateRequest(text="a", sampling=pb.Sampling(max_tokens=100_000)).SerializeToString()
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        method: Any = channel.unary_stream(METHOD)
        call = method(wanted)
        await call.read()
        try:
            return await _neighbours(server)
        finally:
            call.cancel()
