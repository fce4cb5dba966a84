"""Between an engine and a reader: merges what waits, or holds the engine back, so that memory a stream is bounded."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import cast

from bellhousing.events import Delta, Started
from bellhousing.sequence import merge

NEVER_DEPTH = 64
"""Deltas that may wait when they must not be merged; then the producer waits."""

MERGE_LIMIT = 256
"""Most deltas in one message, which keeps it far below a client's usual limit of 4 MiB."""


class Outbox:
    """Started and deltas on their way to one reader. One task puts, one takes.

    With `coalesce`, a take returns everything that waits of one sequence as one delta: what waits is then bounded by
    the request's own output, stored once. Without, each delta is taken alone and `room` holds the producer back.
    """

    def __init__(self, *, coalesce: bool) -> None:
        self._coalesce = coalesce
        self._waiting: deque[Started | Delta] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._closed = False
        self._error: BaseException | None = None

    def put(self, items: Iterable[Started | Delta]) -> None:
        """Add items; never waits."""
        self._waiting.extend(items)
        if self._waiting:
            self._wake_reader()

    @property
    def is_full(self) -> bool:
        """Whether the producer should await `room` before it puts more."""
        return not self._coalesce and len(self._waiting) >= NEVER_DEPTH

    async def room(self) -> None:
        """Return once half of what waited has been taken."""
        self._writer = asyncio.get_running_loop().create_future()
        await self._writer

    def close(self, error: BaseException | None = None) -> None:
        """Mark the end; with an error, what waits is delivered first, then the error raised. The first end counts."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._wake_reader()

    async def take(self) -> Started | Delta | None:
        """Return the next item; None at the end. Raises the error given to `close`."""
        while not self._waiting:
            if self._closed:
                if self._error:
                    raise self._error
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._coalesce:
            return self._take_merged()
        if self._writer and len(self._waiting) <= NEVER_DEPTH // 2 and not self._writer.done():
            self._writer.set_result(None)
        return self._waiting.popleft()

    def _take_merged(self) -> Started | Delta:
        first = self._waiting.popleft()
        if not self._waiting or isinstance(first, Started):
            return first
        run, others = [first], deque[Delta]()
        while self._waiting and len(run) < MERGE_LIMIT:
            delta = cast("Delta", self._waiting.popleft())
            (run if delta.index == first.index else others).append(delta)
        self._waiting.extendleft(reversed(others))
        return merge(run)

    def _wake_reader(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)
