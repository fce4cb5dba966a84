"""The adapters that requests may name, and the engine's set of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from bellhousing.adapters.batches import Batches
from bellhousing.backend import AdapterFiles
from bellhousing.errors import BellhousingError, EngineUnavailable, NotFound
from bellhousing_llamacpp.copies import Copies, Copy
from bellhousing_llamacpp.engines import Engines
from bellhousing_llamacpp.errors import NAME
from bellhousing_llamacpp.server import Server

Wanted = tuple[str, Copy]


class Adapters:
    """Loads adapters by changing the engine; those that are wanted together share a change.

    An adapter that was unloaded stays in the engine until the next change, and comes back at once before that.
    """

    def __init__(self, engines: Engines, copies: Copies) -> None:
        self._engines = engines
        self._copies = copies
        self._loaded: dict[str, Copy] = {}
        self._loads = Batches(self._load_all)

    async def load(self, adapter: AdapterFiles) -> None:
        """Check an adapter and have the engine load it. Raises `PreconditionFailed`, or why the engine cannot."""
        copy = await asyncio.to_thread(self._copies.make, adapter)
        error = await self._loads.do((adapter.name, copy))
        if error is not None:
            copy.release()
            raise error

    def unload(self, name: str) -> None:
        """Serve an adapter no more. Raises `NotFound`."""
        self.check(name)
        self._loaded.pop(name).release()

    def check(self, name: str) -> None:
        """Raise `NotFound` for an adapter that is not loaded; an empty name is the base model."""
        if name and name not in self._loaded:
            raise NotFound("adapter", name, self._loaded)

    def scales(self, name: str, server: Server) -> list[dict[str, Any]]:
        """Return what a request says of adapters, those of `server`. Raises `NotFound`.

        Never nothing where there are some: llama.cpp would then keep what it computed for the request before.
        """
        self.check(name)
        chosen = self._loaded[name].path if name else None
        return [{"id": number, "scale": float(path == chosen)} for number, path in enumerate(server.adapters)]

    async def _load_all(self, wanted: Sequence[Wanted]) -> Sequence[BellhousingError | None]:
        error = await self._changed(wanted)
        if error is None or len(wanted) == 1:
            return [error] * len(wanted)
        return [await self._changed([each]) for each in wanted]  # one that is at fault keeps no other out

    async def _changed(self, wanted: Sequence[Wanted]) -> BellhousingError | None:
        """Have the engine hold adapters beside those that are loaded; return why it cannot."""
        paths = tuple(dict.fromkeys(copy.path for copy in (*self._loaded.values(), *(copy for _, copy in wanted))))
        if not set(paths) <= set(self._engines.adapters):
            try:
                await self._engines.change(paths)
            except BellhousingError as error:
                names = ", ".join(repr(name) for name, _ in wanted)
                return EngineUnavailable(
                    f"llama.cpp cannot load adapter {names}: {error.message}",
                    backend=NAME,
                    hint="If memory is short, options.lora.change = 'after' needs less.",
                )
        for name, copy in wanted:
            replaced, self._loaded[name] = self._loaded.get(name), copy
            if replaced is not None:
                replaced.release()
        return None
