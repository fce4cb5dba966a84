"""How many use something, so that it can be ended once nobody does."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Uses:
    """Counts the uses of one thing, on one loop."""

    def __init__(self) -> None:
        """Begin without any."""
        self._count = 0
        self._none = asyncio.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count a use for the body."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def ended(self) -> None:
        """Return when there are none."""
        while self._count:
            await self._none.wait()
