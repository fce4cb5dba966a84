"""TGI as a backend that starts its launcher: the router, and a shard for each tensor-parallel rank."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from bellhousing.backend import AdapterFiles, ModelInfo
from bellhousing.errors import EngineUnavailable, NotFound
from bellhousing.events import Progress
from bellhousing.lora import check_adapter
from bellhousing.process.command import first_ending
from bellhousing.safetensors import Shapes
from bellhousing.settings import ModelSpec
from bellhousing.sources import sha256_of_files
from bellhousing_tgi.connection import Connection
from bellhousing_tgi.description import MANAGED_BOUNDS, described
from bellhousing_tgi.launcher import REASONS, check, check_adapter_name, effective, shapes, weights
from bellhousing_tgi.options import TgiOptions
from bellhousing_tgi.router import RouterBackend
from bellhousing_tgi.run import Run

MAX_RANK = 4096


class TgiBackend(RouterBackend):
    """Runs `text-generation-launcher`; for another adapter, with `rolling_adapters`, a second one that takes over."""

    name: ClassVar[str] = "tgi"
    Options = TgiOptions
    bounds = MANAGED_BOUNDS

    _run: Run | None = None
    _draining: asyncio.Task[None] | None = None
    _shapes: Shapes

    def __init__(self, spec: ModelSpec, options: TgiOptions) -> None:
        super().__init__(spec, options)
        self._runs: set[Run] = set()
        self._replacing = asyncio.Lock()
        self._switched = asyncio.Event()

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Start the launcher; return once the router answers."""
        settings, options = self.spec.settings, self.options
        check(settings)
        model, adapters = await asyncio.to_thread(self._digests, progress)
        if options.rolling_adapters:
            self._shapes = await asyncio.to_thread(shapes, self.spec.path)
        progress(Progress("starting text-generation-launcher"))
        self._switch_to(*await self._started(options.adapters, adapters))
        return described(
            self._connected().router,
            effective(settings, options),
            REASONS,
            adapters,
            is_rolling=options.rolling_adapters,
            model_digest=model,
            precision=options.quantize or options.dtype or "",
        )

    async def stop(self) -> None:
        """End every launcher and all that it started."""
        self._run, draining = None, self._draining
        if draining:
            draining.cancel()
        await super().stop()
        await asyncio.gather(*(self._ended(run) for run in list(self._runs)))

    async def died(self) -> str:
        """Return when the launcher that serves has ended, as it does after a shard's death, or its router is silent."""
        while True:
            run, switched = self._serving()[0], self._switched
            if how := await first_ending(run.died(), super().died(), _set(switched)):
                return how

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Let a launcher that has one adapter more take over; what runs finishes at the one before, which then ends.

        Raises `PreconditionFailed` for an adapter that does not fit, and `EngineUnavailable` when the new launcher does
        not start: then the one that serves goes on.
        """
        await asyncio.to_thread(check_adapter, adapter, self._shapes, MAX_RANK)
        check_adapter_name(adapter)
        async with self._replacing:
            if self._draining:  # there are never more than two
                await asyncio.wait([self._draining])
            run, connection = self._serving()
            if run.held.get(adapter.name) != adapter.digest:
                paths = {name: run.options.adapters[name] for name in connection.adapters}
                digests = {**connection.adapters, adapter.name: adapter.digest}
                self._switch_to(*await self._started({**paths, adapter.name: Path(adapter.path)}, digests))
                self._draining = asyncio.create_task(self._drained(run, connection))
            self._connected().adapters[adapter.name] = adapter.digest

    async def unload_adapter(self, name: str) -> None:
        """Serve no more requests of an adapter. Its weights leave the device with the launcher that has them."""
        connection = self._connected()
        if name not in connection.adapters:
            raise NotFound("adapter", name, connection.adapters)
        del connection.adapters[name]

    async def _started(self, adapters: Mapping[str, Path], digests: Mapping[str, str]) -> tuple[Run, Connection]:
        """Start a launcher; nothing is left of one that does not start, or that is not wanted any more."""
        run = Run(self.spec, self.options.model_copy(update={"adapters": dict(adapters)}), digests, self.name)
        self._runs.add(run)
        try:
            connection = await run.start()
        except BaseException:
            self._runs.discard(run)
            raise
        if run not in self._runs:  # `stop` was called meanwhile
            await connection.api.close()
            await run.stop()
            raise EngineUnavailable("the launcher was stopped while it started", backend=self.name)
        return run, connection

    def _serving(self) -> tuple[Run, Connection]:
        if self._run is None:
            raise EngineUnavailable("the launcher has ended", backend=self.name)
        return self._run, self._connected()

    def _switch_to(self, run: Run, connection: Connection) -> None:
        """Send new requests there."""
        self._run, self._connection = run, connection
        switched, self._switched = self._switched, asyncio.Event()
        switched.set()

    async def _drained(self, run: Run, connection: Connection) -> None:
        """End a launcher once no request is at it."""
        await first_ending(_idle(connection), run.died())
        await connection.api.close()
        await self._ended(run)

    async def _ended(self, run: Run) -> None:
        self._runs.discard(run)
        await run.stop()

    def _digests(self, progress: Callable[[Progress], None]) -> tuple[str, dict[str, str]]:
        """Return the digest of the model's weights, and of each adapter's."""
        model = weights(self.spec.path, "model")
        adapters = {name: weights(path, f"adapter {name!r}") for name, path in self.options.adapters.items()}
        return sha256_of_files(model, progress), {
            name: sha256_of_files(files, progress) for name, files in adapters.items()
        }


async def _idle(connection: Connection) -> str:
    await connection.uses.ended()
    return "no request is at it"


async def _set(event: asyncio.Event) -> str:
    """Return nothing once an event is set: it is no ending."""
    await event.wait()
    return ""
