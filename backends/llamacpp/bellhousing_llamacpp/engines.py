"""The engine that takes requests, and one before it that only finishes its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.uses import Uses
from bellhousing_llamacpp.errors import NAME
from bellhousing_llamacpp.server import Server

Opening = Callable[[tuple[Path, ...]], Awaitable[Server]]


@dataclass(eq=False, slots=True)
class Engine:
    """A loaded engine, which stays loaded while there are `uses` of it."""

    server: Server
    uses: Uses = field(default_factory=Uses)


class Engines:
    """Changes the set of adapters, which llama.cpp fixes when it loads, and ends no request for it.

    `opening` loads an engine with adapters. `beside`: it is loaded while the one before serves, and until the last
    request of that one has ended both have a KV cache; there are never three. Otherwise requests end first, and new
    ones wait for the next engine.
    """

    def __init__(self, opening: Opening, *, beside: bool) -> None:
        self._opening = opening
        self._beside = beside
        self._current: Engine | None = None
        self._ready = asyncio.Event()
        self._living: list[Engine] = []
        self._retiring: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._is_closed = False

    async def open(self) -> Server:
        """Load the first engine, without adapters, and return it. Raises what `opening` raises."""
        async with self._changing:
            return self._take(await self._opened(())).server

    @property
    def adapters(self) -> tuple[Path, ...]:
        """The adapters of the engine that takes requests."""
        return self._current.server.adapters if self._current is not None else ()

    def living(self) -> tuple[Engine, ...]:
        """Return the engines that are loaded."""
        return tuple(self._living)

    @property
    def is_lost(self) -> bool:
        """Whether no engine is loaded and none will be."""
        return self._ready.is_set() and not self._living

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Server]:
        """Use the engine that takes requests. Raises `EngineUnavailable` when there is none and none to come."""
        await self._ready.wait()
        if self._current is None:
            raise EngineUnavailable("llama.cpp is not loaded", backend=NAME)
        engine = self._current
        with engine.uses.held():
            yield engine.server

    async def change(self, adapters: tuple[Path, ...]) -> None:
        """Serve with other adapters from now on. Raises what `opening` raises, and then serves as before."""
        async with self._changing:
            if self._beside:
                await self._change_beside(adapters)
            else:
                await self._change_after(adapters)

    async def close(self) -> None:
        """End all work and every engine; safe to call twice."""
        self._is_closed = True
        self._ready.set()
        await self._close_all()
        async with self._changing:  # one may be on its way
            await self._close_all()
        if self._retiring is not None:
            await self._retiring

    async def _change_beside(self, adapters: tuple[Path, ...]) -> None:
        if self._retiring is not None:
            await self._retiring
        before = self._current
        self._take(await self._opened(adapters))
        if before is not None:
            self._retiring = asyncio.create_task(self._retire(before))

    async def _change_after(self, adapters: tuple[Path, ...]) -> None:
        before, self._current = self._current, None
        self._ready.clear()
        try:
            if before is not None:
                await self._retire(before)
            try:
                self._take(await self._opened(adapters))
            except ConfigurationError:
                self._take(await self._opened(before.server.adapters if before is not None else ()))
                raise
        finally:
            self._ready.set()

    async def _opened(self, adapters: tuple[Path, ...]) -> Server:
        if self._is_closed:
            raise EngineUnavailable("llama.cpp was stopped", backend=NAME)
        return await self._opening(adapters)

    def _take(self, server: Server) -> Engine:
        engine = self._current = Engine(server)
        self._living.append(engine)
        self._ready.set()
        return engine

    async def _retire(self, engine: Engine) -> None:
        await engine.uses.ended()
        if engine in self._living:
            self._living.remove(engine)
        await engine.server.close()

    async def _close_all(self) -> None:
        self._current = None
        while self._living:
            await self._living.pop().server.close()
