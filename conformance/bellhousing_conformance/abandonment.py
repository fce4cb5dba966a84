"""A client in a process of its own, to be killed in the middle of its streams."""

import asyncio
import multiprocessing
import signal
from multiprocessing.connection import Connection

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address, Calls, Run

START_SECONDS = 60.0


async def abandon(where: Address, silence: float, requests: list[pb.GenerateRequest], *, tokens: int) -> None:
    """Run the requests at once in another process, and kill it when each has brought some tokens.

    Raises `TimeoutError` when that does not come within `START_SECONDS`.
    """
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    raws = [request.SerializeToString() for request in requests]
    process = context.Process(target=_main, args=(where, silence, raws, tokens, theirs), daemon=True)
    await asyncio.to_thread(process.start)
    theirs.close()
    try:
        if not await asyncio.to_thread(ours.poll, START_SECONDS):
            raise TimeoutError(f"the client to be killed had no streams within {START_SECONDS:g} s")
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()


def _main(where: Address, silence: float, raws: list[bytes], tokens: int, ready: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_stream(where, silence, [pb.GenerateRequest.FromString(raw) for raw in raws], tokens, ready))


async def _stream(
    where: Address, silence: float, requests: list[pb.GenerateRequest], tokens: int, ready: Connection
) -> None:
    waiting = set(range(len(requests)))

    async def one(calls: Calls, number: int) -> None:
        def look(run: Run) -> bool:
            if number in waiting and run.tokens() >= tokens:
                waiting.discard(number)
                if not waiting:
                    ready.send_bytes(b"ready")
            return False

        await calls.stream(requests[number], until=look)

    async with Calls(where, silence) as calls:
        await asyncio.gather(*(one(calls, number) for number in range(len(requests))))
