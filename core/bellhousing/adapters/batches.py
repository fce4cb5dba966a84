"""Work of many callers, done together: what comes while a batch is under way is the next batch."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
MOST = 512


class Batches(Generic[Item, Outcome]):
    """Does `work`, which returns an outcome for each item, in order; what it raises goes to all callers of a batch."""

    def __init__(self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._task: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Outcome:
        """Return the outcome of an item."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                outcomes = await self._work([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
