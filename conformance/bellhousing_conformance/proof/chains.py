"""Checks that must have a target to themselves: one after the other in a chain, several chains beside each other.

Each chain is a process with an oracle of its own. The chains share the machine, so that a check which measures time may
come out otherwise than alone: who asks for a chain looks at such a result again.
"""

import asyncio
import multiprocessing
import queue
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from typing import Any

from bellhousing.errors import EngineUnavailable
from bellhousing_conformance.proof.cells import cells
from bellhousing_conformance.proof.matrix import Cell
from bellhousing_conformance.targets.started import launched

LOAD_SECONDS = 60.0
LOOK_SECONDS = 1.0
END_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Checks of a row that share an oracle's time."""

    row: int
    saboteur: str
    seed: int
    checks: tuple[str, ...]


async def chained(
    pieces: Sequence[Piece], oracle: Mapping[str, Any], chains: int
) -> AsyncGenerator[tuple[Piece, dict[str, Cell]], None]:
    """Yield each piece with its cells, in the order in which they are done. Nothing runs on when this is closed.

    Raises `EngineUnavailable` when a chain ends before its work.
    """
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    work: multiprocessing.Queue[Piece | None] = spawn.Queue()
    done: multiprocessing.Queue[tuple[Piece, dict[str, Cell]]] = spawn.Queue()
    for piece in [*pieces, *[None] * chains]:
        work.put(piece)
    processes = [spawn.Process(target=_in_a_process, args=(oracle, work, done)) for _ in range(chains)]
    try:
        for process in processes:
            process.start()
        for _ in pieces:
            yield await _next(done, processes)
        await _joined(processes)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        await _joined(processes)
        for each in (work, done):
            each.close()
            each.cancel_join_thread()


async def _next(
    done: "multiprocessing.Queue[tuple[Piece, dict[str, Cell]]]", processes: Sequence[SpawnProcess]
) -> tuple[Piece, dict[str, Cell]]:
    while True:
        try:
            return await asyncio.to_thread(done.get, timeout=LOOK_SECONDS)
        except queue.Empty:
            codes = [process.exitcode for process in processes]
            if any(codes) or None not in codes:
                raise EngineUnavailable(f"chains of checks ended with {codes} before their work, see above") from None


async def _joined(processes: Sequence[SpawnProcess]) -> None:
    """Wait for chains that end, and for their oracles with them."""
    for process in processes:
        if process.pid:
            await asyncio.to_thread(process.join, END_SECONDS)


def _in_a_process(oracle: Mapping[str, Any], work: Any, done: Any) -> None:
    asyncio.run(_chain(oracle, work, done))


async def _chain(oracle: Mapping[str, Any], work: Any, done: Any) -> None:
    """Do pieces of work until there is none, or SIGTERM comes."""
    this = asyncio.current_task()
    assert this
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with launched([oracle], load_seconds=LOAD_SECONDS) as (server, target):
            while (piece := work.get()) is not None:
                done.put((piece, await cells(target, piece.saboteur, piece.checks, piece.seed)))
                await server.start()  # a check may have stopped it, or restarted it, and failed meanwhile
                await server.wait_serving(LOAD_SECONDS)
    except asyncio.CancelledError:
        return
