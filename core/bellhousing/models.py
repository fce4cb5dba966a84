"""A model that the server serves: its engine's life, its queue and its requests in flight."""

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import platformdirs
from pydantic import ValidationError

from bellhousing import registry
from bellhousing.adapters import (
    AdapterCache,
    Adapters,
    Catalogue,
    Listeners,
    Location,
    Room,
    SourceRules,
    Supply,
)
from bellhousing.admission import Admission, Limits
from bellhousing.backend import Backend, ModelInfo
from bellhousing.config import AdaptersConfig, ModelConfig, explain
from bellhousing.errors import (
    AlreadyExists,
    BellhousingError,
    ConfigurationError,
    EngineUnavailable,
    NotFound,
    PreconditionFailed,
)
from bellhousing.events import Progress
from bellhousing.generation import Generation
from bellhousing.hookspecs import AdapterChange, AdapterEvent, EngineEvent, ThrashEvent
from bellhousing.process import ProcessBackend
from bellhousing.settings import EngineSettings, ModelSpec, Strict
from bellhousing.sources import resolve
from bellhousing.uses import Uses

logger = logging.getLogger(__name__)

ModelState = Literal["unloaded", "loading", "serving", "draining", "restarting", "failed", "sleeping"]
RETRY_WHILE_LOADING_SECONDS = 1.0
STABLE_SECONDS = 60.0
"""An engine that lived this long counts as healthy: its next death is the first in a row again."""


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told of changes in the life of a model's engine and of its adapters."""

    engine: Callable[[EngineEvent], None]
    adapter: Callable[[AdapterEvent], None]
    thrash: Callable[[ThrashEvent], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class AdapterHome:
    """What the models of a server share for their adapters: the registry, the cache, and the largest file taken."""

    catalogue: Catalogue
    cache: AdapterCache
    most_bytes: int

    @classmethod
    def of(cls, config: AdaptersConfig) -> "AdapterHome":
        """Return it as configured. Nothing is opened or made yet."""
        replica = f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}"
        catalogue = Catalogue(_location(config.registry), replica, config.sync_seconds)
        folder = config.cache_directory or platformdirs.user_cache_path("bellhousing") / "adapters"
        return cls(catalogue, AdapterCache(folder, config.cache_bytes), config.max_adapter_bytes)


class ServedModel:
    """One model and its engine. Build it with the configuration, `load` it, `unload` it."""

    def __init__(
        self, config: ModelConfig, watchers: Watchers, backends: Mapping[str, type[Backend]], home: AdapterHome
    ) -> None:
        self.config = config
        self.name = config.name
        self.state: ModelState = "unloaded"
        self.state_detail = ""
        self.instance_id = ""
        self.admission = Admission(Limits(max_running=1, max_queued=0))
        self.in_flight: dict[str, Generation] = {}
        self.adapters = self._adapters(home)
        self.backend_version = ""
        self._watchers = watchers
        self._backends = backends
        self._backend: Backend | None = None
        self._info: ModelInfo | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._sleep_level = 0
        self._changing = asyncio.Lock()
        self._uses = Uses()
        self.admission.close(self.unavailable)

    @property
    def backend(self) -> Backend:
        """The running engine. Raises `EngineUnavailable` when there is none."""
        if self._backend is None or self._info is None:
            raise self.unavailable()
        return self._backend

    @property
    def info(self) -> ModelInfo:
        """What the running engine serves. Raises `EngineUnavailable` when there is none."""
        if self._info is None:
            raise self.unavailable()
        return self._info

    @property
    def known_info(self) -> ModelInfo | None:
        """What the engine serves, or served before it died; None before the first load."""
        return self._info

    @contextmanager
    def holding(self, generation: Generation) -> Iterator[None]:
        """Count a request as in flight for the body. Raises `AlreadyExists` when its id is in flight."""
        name = generation.timeline.request_id
        if name in self.in_flight:
            raise AlreadyExists(f"a request with id {name!r} is in flight")
        with self._uses.held():
            self.in_flight[name] = generation
            try:
                yield
            finally:
                del self.in_flight[name]

    def unavailable(self) -> EngineUnavailable:
        """Return the error that says why the model takes no requests now."""
        detail = f": {self.state_detail}" if self.state_detail else ""
        return EngineUnavailable(
            f"model {self.name!r} is {self.state}{detail}",
            reason=f"MODEL_{self.state.upper()}",
            backend=self.config.backend,
            retry_after=RETRY_WHILE_LOADING_SECONDS if self.state in ("loading", "restarting") else None,
        )

    async def load(self, progress: Callable[[Progress], None]) -> None:
        """Start the engine and serve. Does nothing when it serves already.

        Raises `ConfigurationError` or `EngineUnavailable`; the model's state is `failed` then.
        """
        async with self._changing:
            if self.state in ("serving", "sleeping"):
                return
            if self._supervisor:
                raise PreconditionFailed(f"model {self.name!r} is {self.state}", hint="Unload it first.")
            self._changed("loading")
            try:
                await self._start(progress)
            except BellhousingError as error:
                self._changed("failed", error.message)
                raise
            self._supervisor = asyncio.create_task(self._supervise())

    async def unload(self, grace_seconds: float) -> int:
        """Take nothing new, let requests finish for a while, end the rest and the engine; return the ended ones."""
        async with self._changing:
            if self.state != "unloaded":
                self._changed("draining")
            await self._quiet(grace_seconds)
            ended = len(self.in_flight)
            await self._end_supervisor()
            self._fail_in_flight(EngineUnavailable(f"model {self.name!r} was unloaded", reason="MODEL_UNLOADED"))
            await self._stop()
            self._info = None
            self._changed("unloaded")
            return ended

    def drain(self) -> None:
        """Take nothing new; what runs goes on."""
        if self.state in ("serving", "loading", "restarting"):
            self._changed("draining")

    async def sleep(self, level: int) -> None:
        """Free the device's memory; does nothing when the model sleeps at that level.

        Raises `PreconditionFailed` unless it serves and no requests run.
        """
        async with self._changing:
            if self.state == "sleeping" and self._sleep_level == level:
                return
            self._check_may_sleep()
            self._changed("sleeping")
            try:
                await self.backend.sleep(level)
            except BellhousingError:
                self._serve()
                raise
            self._sleep_level = level

    def _check_may_sleep(self) -> None:
        if self.state != "serving":
            hint = "Wake it first." if self.state == "sleeping" else ""
            raise PreconditionFailed(f"model {self.name!r} is {self.state}, expected serving", hint=hint)
        if self.in_flight:
            raise PreconditionFailed(f"model {self.name!r} has {len(self.in_flight)} requests in flight, expected none")

    async def wake(self) -> None:
        """Serve again after `sleep`; does nothing when it serves."""
        async with self._changing:
            if self.state == "sleeping":
                await self.backend.wake()
                self._serve()

    async def _quiet(self, seconds: float) -> None:
        """Return when nothing is in flight, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._uses.ended()

    async def _start(self, progress: Callable[[Progress], None]) -> None:
        self._backend = await self._build(progress)
        try:
            self._info = await self._backend.start(progress)
        except BaseException:
            await self._stop()
            raise
        self.instance_id = secrets.token_hex(6)
        try:
            await self.adapters.engine_started(self._info.model_digest, self._info.capabilities.static_adapters)
        except BaseException:
            await self._stop()
            raise
        self._serve()

    def _serve(self) -> None:
        wanted, info = self.config.admission, self.info
        self.admission.open(
            Limits(
                max_running=min(wanted.max_running or info.max_running, info.max_running),
                max_queued=wanted.max_queued,
                max_running_tokens=wanted.max_running_tokens,
                max_queued_tokens=wanted.max_queued_tokens,
            )
        )
        self._changed("serving")

    async def _build(self, progress: Callable[[Progress], None]) -> Backend:
        config = self.config
        backend_class = self._backends.get(config.backend) or registry.load(config.backend)
        self.backend_version = registry.version_of(config.backend)
        options = validated_options(backend_class, config.options)
        path = await asyncio.to_thread(resolve, config.model, progress) if config.model else None
        if path is None and backend_class.needs_model:
            raise ConfigurationError(f"model {self.name!r}: backend {config.backend!r} needs a model, found none")
        settings = EngineSettings(batching=config.batching, parallelism=config.parallelism)
        spec = ModelSpec(name=self.name, path=path, settings=settings)
        if backend_class.isolation == "process":
            return ProcessBackend(backend_class, spec, options)
        return backend_class(spec, options)

    async def _stop(self) -> None:
        backend, self._backend = self._backend, None
        self.adapters.engine_ended()
        if backend:
            try:
                await backend.stop()
            except Exception:
                logger.exception("backend %r of model %r did not stop cleanly", self.config.backend, self.name)

    async def _supervise(self) -> None:
        """Start the engine again each time it dies, with growing waits, until it died too often."""
        deaths = 0
        while True:
            started = time.monotonic()
            reason = await self.backend.died()
            deaths = deaths + 1 if time.monotonic() - started < STABLE_SECONDS else 1
            self._mourn(reason)
            await self._stop()
            while not await self._restarted(deaths):
                deaths += 1
            if self.state == "failed":
                return

    def _mourn(self, reason: str) -> None:
        """Tell everyone that the engine died: requests in flight, requests in the queue, health."""
        logger.error("the engine of model %r died: %s", self.name, reason)
        self._changed("restarting", reason)
        self._fail_in_flight(
            EngineUnavailable(
                f"the engine of model {self.name!r} died: {reason}",
                reason="ENGINE_DIED",
                backend=self.config.backend,
                retry_after=self.config.restart.first_seconds + RETRY_WHILE_LOADING_SECONDS,
            )
        )

    async def _restarted(self, deaths: int) -> bool:
        """Wait and try once; true when the engine serves or will not be tried again."""
        policy = self.config.restart
        if deaths > policy.limit:
            self._changed("failed", f"the engine died {deaths} times in a row; {self.state_detail}")
            return True
        await asyncio.sleep(min(policy.most_seconds, policy.first_seconds * 2 ** (deaths - 1)))
        try:
            await self._start(lambda _: None)
        except BellhousingError as error:
            logger.warning("the engine of model %r did not start again: %s", self.name, error)
            self._changed("restarting", error.message)
            return False
        return True

    async def _end_supervisor(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await supervisor

    def _fail_in_flight(self, error: BellhousingError) -> None:
        for generation in list(self.in_flight.values()):
            generation.fail(error)

    def _changed(self, state: ModelState, detail: str = "") -> None:
        self.state = state
        self.state_detail = detail
        if state != "serving":
            self.admission.close(self.unavailable)
        self._watchers.engine(EngineEvent(self.name, self.config.backend, state, detail))

    def _adapters(self, home: AdapterHome) -> Adapters:
        config = self.config
        roots = tuple(root.expanduser().resolve() for root in config.adapter_roots)
        rules = SourceRules(roots, config.adapter_sources, home.most_bytes)
        return Adapters(
            config.name,
            home.catalogue,
            Supply(rules, home.cache),
            Room(config.adapter_slots, config.adapter_bytes, config.adapter_patience_seconds),
            config.adapter_policy,
            lambda: self.backend,
            Listeners(self._adapter_changed, self.admission.wake, self._thrashing),
        )

    def _thrashing(self, reloads: int) -> None:
        slots = self.config.adapter_slots
        logger.warning(
            "adapters of model %r thrash: %d were loaded in a minute that had just been evicted, for %d slots",
            self.name, reloads, slots,
        )  # fmt: skip
        self._watchers.thrash(ThrashEvent(self.name, self.config.backend, reloads, slots))

    def _adapter_changed(self, adapter: str, change: AdapterChange, seconds: float) -> None:
        self._watchers.adapter(AdapterEvent(self.name, self.config.backend, adapter, change, seconds))


def validated_options(backend_class: type[Backend], options: Mapping[str, object]) -> Strict:
    """Return a backend's options. Raises `ConfigurationError` naming the option and the nearest known one."""
    try:
        return backend_class.Options.model_validate(dict(options))
    except ValidationError as error:
        raise ConfigurationError(
            f"options of backend {backend_class.name!r}: {explain(error, backend_class.Options)}",
            reason="INVALID_CONFIG",
        ) from error


def _location(registry: str) -> Location:
    """Return where the registry is that the configuration names."""
    if registry == "memory":
        return Location("sqlite://", is_shared=False)
    if registry:
        return Location(registry)
    file = platformdirs.user_data_path("bellhousing") / "adapters.db"
    return Location(f"sqlite:///{file}", file)


class Models:
    """The models of a server, by name."""

    def __init__(
        self,
        configs: tuple[ModelConfig, ...],
        watchers: Watchers,
        backends: Mapping[str, type[Backend]],
        adapters: AdaptersConfig,
    ) -> None:
        home = AdapterHome.of(adapters)
        self._catalogue = home.catalogue
        self._models = {config.name: ServedModel(config, watchers, backends, home) for config in configs}
        self._catalogue.held = self._held

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(sorted(self._models.values(), key=lambda model: model.name))

    async def close(self) -> None:
        """Let go of what the models share, once they are unloaded."""
        for model in self:
            await model.adapters.close()
        await self._catalogue.close()

    def _held(self) -> list[tuple[str, str]]:
        return [(model.name, name) for model in self for name in model.adapters.resident()]

    def find(self, name: str) -> ServedModel:
        """Return a model; the only one for an empty name. Raises `NotFound` with the near names."""
        if not name and len(self._models) == 1:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise NotFound("model", name, self._models)
        return self._models[name]
