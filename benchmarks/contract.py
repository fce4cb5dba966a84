"""What the contract costs: our server on the simulator at zero latency against a bare one streaming the same bytes."""

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc.aio

from bellhousing.v1 import inference_pb2 as pb
from benchmarks.figures import Figure, figure
from benchmarks.processes import Running, running
from benchmarks.servers import METHOD, write_messages

TOKENS, STREAMS, PAIRS = 1000, 8, 21


def request(*, coalesce: bool) -> bytes:
    """Return the request of one stream."""
    coalescing = pb.COALESCING_ALLOWED if coalesce else pb.COALESCING_NEVER
    sampling = pb.Sampling(max_tokens=TOKENS, seed=1)
    message = pb.GenerateRequest(text="a", sampling=sampling, stream=pb.StreamOptions(coalescing=coalescing))
    return message.SerializeToString()


async def read(channel: grpc.aio.Channel, wanted: bytes) -> list[bytes]:
    """Return every message of one stream, undecoded."""
    method: Any = channel.unary_stream(METHOD)
    call = method(wanted)
    return [message async for message in call]


async def timed(server: Running, wanted: bytes) -> tuple[int, float, float]:
    """Return the messages of all streams at once, the seconds they took and the server's processor seconds."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        await channel.channel_ready()
        used, began = server.cpu_seconds(), time.perf_counter()
        results = await asyncio.gather(*(read(channel, wanted) for _ in range(STREAMS)))
        return sum(map(len, results)), time.perf_counter() - began, server.cpu_seconds() - used


async def measure() -> list[Figure]:
    """Return the ratios of messages, of processor time, and of tokens with merging."""
    with ExitStack() as stack:
        ours = stack.enter_context(running("simulator"))
        single, merged = request(coalesce=False), request(coalesce=True)
        async with grpc.aio.insecure_channel(ours.address) as channel:
            messages = await read(channel, single)
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "messages"
        write_messages(file, messages)
        bare = stack.enter_context(running("bare", str(file)))
        for server, wanted in ((ours, single), (bare, single), (ours, merged)):
            await timed(server, wanted)
        rates: list[float] = []
        cpu: list[float] = []
        tokens: list[float] = []
        for _ in range(PAIRS):
            found = {name: await timed(*arm) for name, arm in _shuffled(ours, bare, single, merged)}
            rate = {name: count / seconds for name, (count, seconds, _) in found.items()}
            rates.append(rate["single"] / rate["bare"])
            cpu.append((found["single"][2] / found["single"][0]) / (found["bare"][2] / found["bare"][0]))
            seconds = found["merged"][1]
            tokens.append(STREAMS * TOKENS / seconds / rate["bare"])
    return [
        figure("messages/s, one message a token, over a bare server", rates, at_least=0.7),
        figure("tokens/s with merging over the bare server's", tokens, at_least=5),
        figure("server CPU a message over a bare server's", cpu),
    ]


def _shuffled(
    ours: Running, bare: Running, single: bytes, merged: bytes
) -> Iterator[tuple[str, tuple[Running, bytes]]]:
    arms = [("single", (ours, single)), ("bare", (bare, single)), ("merged", (ours, merged))]
    random.shuffle(arms)
    yield from arms
