"""Cells of the kill matrix: checks through one saboteur."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace

from bellhousing_conformance.against import LiveOther
from bellhousing_conformance.bench import Bench
from bellhousing_conformance.calls import Address, Calls
from bellhousing_conformance.check import Check, catalogue
from bellhousing_conformance.examination import Examiner, TargetLost
from bellhousing_conformance.oracles import oracle_of
from bellhousing_conformance.preflight import HalfImplemented, Unjudgeable, look
from bellhousing_conformance.proof.declared import bench_of
from bellhousing_conformance.proof.matrix import CLEAN, Cell
from bellhousing_conformance.report.model import Subject
from bellhousing_conformance.saboteurs.proxy import proxied
from bellhousing_conformance.saboteurs.saboteur import Clean, saboteurs, spoilt
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status

SILENCE_SECONDS = 10.0


def cells_in_a_process(upstream: Target, saboteur: str, check_ids: Sequence[str], seed: int) -> dict[str, Cell]:
    """Return a row of the matrix, for a worker process."""
    return asyncio.run(cells(upstream, saboteur, check_ids, seed))


async def cells(upstream: Target, saboteur: str, check_ids: Sequence[str], seed: int) -> dict[str, Cell]:
    """Return the cells of some checks through a saboteur in front of a target, smoke-sized.

    Each saboteur has a seed of its own: a prompt that another row has put into the oracle's prefix cache is not new.
    """
    own_seed = row_seed(seed, saboteur)
    kind = Clean if saboteur == CLEAN else saboteurs()[saboteur]
    chosen = [check for check in catalogue() if check.id in check_ids]
    row: dict[str, Cell] = {}
    bench = bench_of(upstream)
    async with Calls(upstream.where, SILENCE_SECONDS) as clean:
        for check in chosen:
            # A proxy and a connection for each check: what one leaves behind is not the next one's.
            async with proxied(upstream.where.address, kind) as address:
                hooks = spoilt(upstream.hooks, kind)
                target = replace(upstream, where=Address(address), silence=SILENCE_SECONDS, hooks=hooks)
                row[check.id] = await _cell(target, check, own_seed, clean, bench)
    return row


def row_seed(seed: int, saboteur: str) -> int:
    """Return the seed of a saboteur's row."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{saboteur}".encode()).digest()[:4])


async def _cell(target: Target, check: Check, seed: int, clean: Calls, bench: Bench) -> Cell:
    """Return what a check comes to; a paired one compares the target with the oracle behind `clean`."""
    async with Calls(target.where, target.silence) as calls:
        try:
            model = await look(calls, target)
            examiner = Examiner(
                calls,
                model,
                "smoke",
                seed,
                target.hooks,
                oracle_of(model),
                adapters=target.adapters,
                bench=bench,
                shares_process=True,
            )
            if check.paired:
                other = await look(clean, replace(target, where=clean.where))
                subject = Subject(address=clean.where.address)
                examiner = replace(examiner, other=LiveOther(subject, clean, other))
            result = (await examiner.examine(check)).result
        except (Unjudgeable, HalfImplemented, TargetLost) as error:
            return Cell(status=Status.ERROR, problem=str(error))
    problems = result.problems
    return Cell(status=result.status, problem=problems[0] if problems else "", seconds=result.seconds)
