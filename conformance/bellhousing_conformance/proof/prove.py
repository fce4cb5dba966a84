"""Prove the checks: one simulator, a proxy for each saboteur, as many at once as there are processors."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from bellhousing_conformance.check import Check
from bellhousing_conformance.proof.cells import cells, cells_in_a_process
from bellhousing_conformance.proof.matrix import CLEAN, Cell, KillMatrix
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.targets.started import launched

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
LOAD_SECONDS = 60.0

Told = Callable[[str, Mapping[str, Cell]], None]


async def prove(
    checks: Sequence[Check], kinds: Mapping[str, type[Saboteur]], seed: int, *, declared_only: bool, told: Told
) -> KillMatrix:
    """Return the kill matrix of some checks and saboteurs; `told` hears of each row that is done.

    With `declared_only`, a saboteur meets only the checks that it declares; the clean column has all of them. A check
    that needs a hook restarts or breaks the oracle, which takes long: it always meets those alone that declare it.
    Raises what starting the simulator raises.
    """
    began = time.monotonic()
    plan = {CLEAN: list(checks), **{name: _wanted(kind, checks, declared_only) for name, kind in kinds.items()}}
    async with launched([ORACLE], load_seconds=LOAD_SECONDS) as (server, target):
        upstream, loop = replace(target, hooks=Hooks()), asyncio.get_running_loop()
        workers = os.cpu_count() or 1
        spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        rows: dict[str, dict[str, Cell]] = {name: {} for name in plan}
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:

            async def row(name: str, wanted: list[Check]) -> None:
                ids = [check.id for check in wanted if not check.alone]
                if ids:
                    rows[name] |= await loop.run_in_executor(pool, cells_in_a_process, upstream, name, ids, seed)
                told(name, rows[name])

            await asyncio.gather(*(row(name, wanted) for name, wanted in plan.items()))
        for name, wanted in plan.items():
            alone = [check.id for check in wanted if check.alone]
            for each in alone:
                rows[name] |= await cells(target, name, [each], seed)
                await server.start()  # a check may have stopped it, or restarted it, and failed meanwhile
                await server.wait_serving(LOAD_SECONDS)
            if alone:
                told(name, rows[name])
    return KillMatrix(
        checks=tuple([check.id for check in checks]),
        defects={name: kind.defect for name, kind in kinds.items()},
        declared={name: kind.seen_by for name, kind in kinds.items()},
        cells=rows,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
    )


def _wanted(kind: type[Saboteur], checks: Sequence[Check], declared_only: bool) -> list[Check]:  # noqa: FBT001 - private
    return [check for check in checks if not (declared_only or check.hooks) or check.id in kind.seen_by]
