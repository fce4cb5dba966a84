"""A client in a process of its own, to be killed in the middle of its streams."""

import asyncio
import multiprocessing
import signal
from multiprocessing.connection import Connection

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address, CallFailed, Calls, Incomplete, Run, TargetSilent, Unreadable

START_SECONDS = 60.0


class ClientFailed(Exception):
    """The client to be killed could not stream; the message says why."""


async def abandon(where: Address, silence: float, requests: list[pb.GenerateRequest], *, tokens: int) -> int:
    """Run the requests at once in another process, and kill it when each has brought some tokens or has ended.

    Return how many had not ended. Raises `ClientFailed` when a stream fails, or when that does not come within
    `START_SECONDS`.
    """
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    raws = [request.SerializeToString() for request in requests]
    process = context.Process(target=_main, args=(where, silence, raws, tokens, theirs), daemon=True)
    await asyncio.to_thread(process.start)
    theirs.close()
    try:
        if not await asyncio.to_thread(ours.poll, START_SECONDS):
            raise ClientFailed(f"expected the streams of a client to begin within {START_SECONDS:g} s, found none")
        return _left(ours)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()


def _left(ours: Connection) -> int:
    """Return how many streams the client says it has."""
    try:
        told = ours.recv_bytes().decode()
    except EOFError as error:
        raise ClientFailed("the client to be killed ended by itself") from error
    if not told.isdigit():
        raise ClientFailed(told)
    return int(told)


def _main(where: Address, silence: float, raws: list[bytes], tokens: int, ready: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_stream(where, silence, [pb.GenerateRequest.FromString(raw) for raw in raws], tokens, ready))


async def _stream(
    where: Address, silence: float, requests: list[pb.GenerateRequest], tokens: int, ready: Connection
) -> None:
    waiting, running = set(range(len(requests))), len(requests)

    def is_there(number: int) -> None:
        if number in waiting:
            waiting.discard(number)
            if not waiting:
                ready.send_bytes(str(running).encode())

    async def one(calls: Calls, number: int) -> None:
        nonlocal running

        def look(run: Run) -> bool:
            if run.tokens() >= tokens:
                is_there(number)
            return False

        run = await calls.stream(requests[number], until=look)
        if run.failed is not None:
            raise run.failed
        running -= 1
        is_there(number)

    async with Calls(where, silence) as calls:
        try:
            await asyncio.gather(*(one(calls, number) for number in range(len(requests))))
        except (CallFailed, TargetSilent, Unreadable, Incomplete) as error:
            ready.send_bytes(str(error).encode())
