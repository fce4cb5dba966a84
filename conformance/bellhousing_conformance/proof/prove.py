"""Prove the checks: one simulator, a proxy for each saboteur, as many at once as there are processors."""

import asyncio
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from itertools import groupby

from bellhousing.launch import ServerProcess
from bellhousing_conformance.check import Check
from bellhousing_conformance.proof.cells import cells, cells_in_a_process
from bellhousing_conformance.proof.chains import LOAD_SECONDS, Piece, chained
from bellhousing_conformance.proof.matrix import CLEAN, Cell, KillMatrix
from bellhousing_conformance.saboteurs.saboteur import Saboteur, saboteurs
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.targets.started import launched
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status

ORACLE = {
    "backend": "simulator",
    "name": "oracle",
    # Loading takes long enough for a lie about it to be seen; tokens take long enough for a stream to be cancelled.
    # Prefill takes long enough for a long prompt to be cancelled in it.
    "options": {
        "load_seconds": 1.0,
        "inter_token_seconds": 0.002,
        "prefill_seconds_per_token": 0.0002,
        "prefix_cache": True,
    },
    "parallelism": {"tensor": 2},
    # Few enough places for a burst to fill them. An engine that a check ends is back at once, however often.
    "batching": {"max_sequences": 8},
    "restart": {"first_seconds": 0.1, "most_seconds": 0.1, "limit": 1000},
}

MORE_TRIES = 2
"""Other programs may use the machine too, and many checks measure time; a check that is wrong is so each time."""

Told = Callable[[str, Mapping[str, Cell]], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of checks through one saboteur, from one seed."""

    saboteur: str
    seed: int
    checks: Sequence[Check]


async def prove(
    checks: Sequence[Check], kinds: Mapping[str, type[Saboteur]], seed: int, *, every: int, told: Told
) -> KillMatrix:
    """Return the kill matrix of some checks and saboteurs; `told` hears of each row that is done.

    A saboteur meets the checks that it declares, and of the others each `every`th (see `wanted`); the clean column has
    all of them.
    Raises what starting the simulator raises.
    """
    began = time.monotonic()
    plan = [Row(CLEAN, seed, checks)]
    plan += [Row(name, seed, wanted(name, kinds[name], checks, seed, every)) for name in kinds]
    found = await _run(plan, lambda row, cells: told(row.saboteur, cells), is_quiet=False)
    return KillMatrix(
        checks=tuple([check.id for check in checks]),
        defects={name: kind.defect for name, kind in kinds.items()},
        declared={name: kind.seen_by for name, kind in kinds.items()},
        cells={row.saboteur: cells for row, cells in zip(plan, found, strict=True)},
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
    )


async def run_clean(
    checks: Sequence[Check], seeds: Sequence[int], *, told: Callable[[int, Mapping[str, Cell]], None]
) -> list[dict[str, Cell]]:
    """Return what the checks come to on the oracle without a defect, a row for each seed; `told` hears of each row.

    Nothing is tried again, and what must be alone has the machine to itself: this is how often a right server fails.
    Raises what starting the simulator raises.
    """
    plan = [Row(CLEAN, seed, checks) for seed in seeds]
    return await _run(plan, lambda row, cells: told(row.seed, cells), is_quiet=True)


async def _run(
    plan: Sequence[Row], told: Callable[[Row, Mapping[str, Cell]], None], *, is_quiet: bool
) -> list[dict[str, Cell]]:
    """Return the cells of each row: first what may run beside others, then what must be alone.

    Unless `is_quiet` there are several oracles for the latter, and what came out otherwise than declared is tried again
    with the machine to itself, up to `MORE_TRIES` times.
    """
    course, processors = _Course(plan, told), os.cpu_count() or 1
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    async with AsyncExitStack() as stack:
        # The server ends first: what the workers are at ends with it, when this is cancelled.
        pool = stack.enter_context(ProcessPoolExecutor(processors, mp_context=spawn))
        server, target = await stack.enter_async_context(launched([ORACLE], load_seconds=LOAD_SECONDS))
        await course.side_by_side(target, pool)
        if is_quiet:
            await course.alone(_pieces(plan), server, target)
        else:
            await course.in_chains(_pieces(plan), processors)
            for _ in range(MORE_TRIES):
                await course.alone(_unexpected(plan, course.found), server, target)
    return course.found


class _Course:
    """A proof on its way: `found` has the cells of each row so far, and `told` hears of each row that has more."""

    def __init__(self, plan: Sequence[Row], told: Callable[[Row, Mapping[str, Cell]], None]) -> None:
        self.found: list[dict[str, Cell]] = [{} for _ in plan]
        self._plan = plan
        self._told = told

    async def side_by_side(self, oracle: Target, pool: ProcessPoolExecutor) -> None:
        """Prove what may run beside others, all on one oracle."""
        upstream, loop = replace(oracle, hooks=Hooks()), asyncio.get_running_loop()

        async def one(place: int, row: Row) -> None:
            ids = [check.id for check in row.checks if not check.alone]
            done: dict[str, Cell] = {}
            if ids:
                done = await loop.run_in_executor(pool, cells_in_a_process, upstream, row.saboteur, ids, row.seed)
            self._note(place, done)

        try:
            await asyncio.gather(*(one(place, row) for place, row in enumerate(self._plan)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def in_chains(self, pieces: Sequence[Piece], chains: int) -> None:
        """Prove what must be alone, on as many oracles as there are chains."""
        async with aclosing(chained(pieces, ORACLE, chains)) as results:
            async for piece, done in results:
                self._note(piece.row, done)

    async def alone(self, pieces: Sequence[Piece], server: ServerProcess, oracle: Target) -> None:
        """Prove what must be alone, with the machine to itself."""
        for piece in pieces:
            done = await cells(oracle, piece.saboteur, piece.checks, piece.seed)
            await server.start()  # a check may have stopped it, or restarted it, and failed meanwhile
            await server.wait_serving(LOAD_SECONDS)
            self._note(piece.row, done)

    def _note(self, place: int, done: Mapping[str, Cell]) -> None:
        self.found[place].update(done)
        self._told(self._plan[place], self.found[place])


def _pieces(plan: Sequence[Row]) -> list[Piece]:
    """Return what must be alone: each check by itself, but for those that share a soak."""
    return [
        Piece(place, row.saboteur, row.seed, tuple([check.id for check in company]))
        for place, row in enumerate(plan)
        for _, company in groupby((check for check in row.checks if check.alone), key=_company)
    ]


def _unexpected(plan: Sequence[Row], found: Sequence[Mapping[str, Cell]]) -> list[Piece]:
    """Return the checks that did not come to what is declared: PASS without a defect, a kill with it."""
    pieces = []
    for place, (row, come_to) in enumerate(zip(plan, found, strict=True)):
        for check in row.checks:
            cell = come_to[check.id]
            if row.saboteur == CLEAN:
                is_expected = cell.status is Status.PASS
            else:
                is_expected = cell.is_kill or check.id not in saboteurs()[row.saboteur].seen_by
            if not is_expected:
                pieces.append(Piece(place, row.saboteur, row.seed, (check.id,)))
    return pieces


def _company(check: Check) -> str:
    """Return what checks that run alone have in common when they may follow each other: they share a soak."""
    return check.profile if check.profile == "soak" else check.id


def wanted(name: str, kind: type[Saboteur], checks: Sequence[Check], seed: int, every: int) -> list[Check]:
    """Return the checks that a saboteur meets: those that it declares, and a share of the others.

    The share is one in `every`, another one with each seed, so that as many successive seeds have every pair; with 0
    there is none. A check that needs a hook restarts or breaks the oracle, which takes long: it meets those alone that
    declare it.
    """
    return [check for check in checks if check.id in kind.seen_by or _is_in_turn(name, check, seed, every)]


def _is_in_turn(name: str, check: Check, seed: int, every: int) -> bool:
    if not every or check.hooks:
        return False
    number = int.from_bytes(hashlib.sha256(f"{name}/{check.id}".encode()).digest()[:4])
    return (number + seed) % every == 0
