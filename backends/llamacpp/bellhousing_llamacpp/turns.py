"""Whose turn it is in an engine that computes for one adapter at a time.

llama.cpp takes into a step only sequences of one adapter, that of its first place that decodes; those of another wait
in their places, and for ever while requests for the first keep coming. So they wait here, where turns come round.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that wants in. `since` is on the loop's clock."""

    adapter: str
    since: float
    entered: asyncio.Future[None]


class Turns:
    """Lets at most `places` requests in, all of one adapter; an empty name is the base model, as good as any other.

    A turn goes to the adapter of who has waited longest, and is for all who wait for that adapter then. Who comes later
    joins as long as nobody of another adapter has waited for `patience` seconds.
    """

    def __init__(self, places: int, patience: float) -> None:
        self._places = places
        self._patience = patience
        self._waiting: list[Waiter] = []
        self._running = 0
        self._adapter = ""
        self._began = 0.0

    @property
    def waiting(self) -> int:
        """How many requests want in."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, adapter: str) -> AsyncIterator[None]:
        """Wait for a turn of the adapter and keep it for the body."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(adapter, loop.time(), loop.create_future())
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.entered
            yield
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self._running -= 1
            self._admit()

    def _admit(self) -> None:
        while self._running < self._places and (waiter := self._next()) is not None:
            self._waiting.remove(waiter)
            self._running += 1
            if not waiter.entered.done():
                waiter.entered.set_result(None)

    def _next(self) -> Waiter | None:
        now = asyncio.get_running_loop().time()
        if not self._running and self._waiting:
            self._adapter, self._began = self._waiting[0].adapter, now
        is_closing = False
        for waiter in self._waiting:
            if waiter.adapter != self._adapter:
                is_closing = is_closing or now - waiter.since >= self._patience
            elif not is_closing or waiter.since <= self._began:
                return waiter
        return None
