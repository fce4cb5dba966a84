"""Senders that each cheat in one way that load generators are known for. The gates must catch every one of them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from bellhousing_conformance.load.clients.client import Received
from bellhousing_conformance.load.job import Job
from bellhousing_conformance.load.record import RunInfo, Sent
from bellhousing_conformance.load.sender import Sender, until
from bellhousing_conformance.load.workload import Planned

LATE_SECONDS = 0.05
PLACES = 1


class DishonestSender(Sender):
    """`defect` is a sentence, `seen_by` the gate that must catch it."""

    defect: ClassVar[str]
    seen_by: ClassVar[str]


class CoordinatedOmission(DishonestSender):
    """Asks only once it has been answered: a slow target is asked less."""

    defect = "the next request waits for the answer to the one before"
    seen_by = "send delay p99"

    async def _open_loop(self, sessions: Sequence[Sequence[Planned]], prepared: Sequence[bytes]) -> None:
        for turns, first in zip(sessions, prepared, strict=True):
            due = self.origin_ns + (turns[0].intended_ns or 0)
            await until(due)
            await self.arrive(turns, first, due)


class ClockAfterQueue(DishonestSender):
    """Has a queue of its own before the target, and starts the clock behind it."""

    defect = "requests wait for one of few places, and their time begins when they have it"
    seen_by = "schedule"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._places = asyncio.Semaphore(PLACES)

    async def arrive(self, turns: Sequence[Planned], first: bytes, due_ns: int) -> None:  # noqa: ARG002 - the defect: when it was due is forgotten
        """See `Sender`."""
        async with self._places:
            await super().arrive(turns, first, time.perf_counter_ns())


class LostFailures(DishonestSender):
    """Leaves failures out of the record."""

    defect = "requests that failed have no row"
    seen_by = "request ledger"

    async def run(self) -> tuple[list[Sent], RunInfo]:
        """See `Sender`."""
        rows, info = await super().run()
        return [row for row in rows if row.is_ok], info


class LostFailuresCoveredUp(DishonestSender):
    """Leaves them out of the record and of the number planned: what was seen in flight still tells."""

    defect = "requests that failed were never planned, if one believes the record"
    seen_by = "schedule"

    async def run(self) -> tuple[list[Sent], RunInfo]:
        """See `Sender`."""
        rows, info = await super().run()
        kept = [replace(row, index=index) for index, row in enumerate(row for row in rows if row.is_ok)]
        return kept, replace(info, planned=len(kept))


class DelayedSends(DishonestSender):
    """Sends late, and says so nowhere but in the stamps."""

    defect = "every request is sent 50 ms late"
    seen_by = "send delay p99"

    async def send(self, prepared: bytes, received: Received) -> None:
        """See `Sender`."""
        await asyncio.sleep(LATE_SECONDS)
        await super().send(prepared, received)


DISHONEST: tuple[type[DishonestSender], ...] = (
    CoordinatedOmission,
    ClockAfterQueue,
    LostFailures,
    LostFailuresCoveredUp,
    DelayedSends,
)
