"""The server's side of one exchange with an engine's process."""

import asyncio
from collections import deque

from bellhousing.errors import BellhousingError
from bellhousing.process.frames import DeltaEvent, Reply


class Exchange:
    """Replies in order of arrival, then the end, as an asynchronous iterator for one reader.

    The socket is shared, so it is always read, and a slow reader never holds up another exchange. What waits here is
    bounded by the request's own output.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_ended = False
        self.has_tokens = False
        self._replies: deque[Reply] = deque()
        self._error: BellhousingError | None = None
        self._reader: asyncio.Future[None] | None = None

    def put(self, reply: Reply) -> None:
        """Add a reply."""
        self.has_tokens = self.has_tokens or type(reply) is DeltaEvent
        self._replies.append(reply)
        self._wake()

    def end(self, error: BellhousingError | None = None) -> None:
        """Mark the end; an error is raised after the replies that came before it. The first end counts."""
        if not self.is_ended:
            self.is_ended = True
            self._error = error
            self._wake()

    def __aiter__(self) -> "Exchange":
        return self

    async def __anext__(self) -> Reply:
        while not self._replies:
            if self._error:
                raise self._error
            if self.is_ended:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._replies.popleft()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader and not reader.done():
            reader.set_result(None)
