"""How busy a model is now: core's own counts and what its engine tells."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bellhousing.backend import EngineLoad
from bellhousing.errors import BellhousingError
from bellhousing.models import Models, ModelState, ServedModel

logger = logging.getLogger(__name__)
ENGINE_SECONDS = 2.0
"""How long an engine may take to tell its load to an observer; one that hangs must not hide the others."""


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """The load of a model. Tokens are estimates of prompt and output; `drain_rate` is in requests a second."""

    model: str
    backend: str
    state: ModelState
    queued: int
    queued_tokens: int
    running: int
    max_running: int
    tokens_in_flight: int
    drain_rate: float
    resident_adapters: tuple[str, ...] = ()
    waiting_adapters: tuple[str, ...] = ()
    adapter_slots: int = 0
    engine: EngineLoad = field(default_factory=EngineLoad)


Loads = Callable[[], Awaitable[tuple[ModelLoad, ...]]]
"""Returns the load of every model of a server, by name."""


async def load_of(model: ServedModel, tenant: str | None = None) -> ModelLoad:
    """Return how busy a model is, with the adapters that a tenant may know of; None for all. Raises only defects.

    What its engine tells is left out while there is none.
    """
    return _load(model, await _told(model), tenant)


async def loads_of(models: Models) -> tuple[ModelLoad, ...]:
    """Return how busy each model is, without what an engine fails to tell within `ENGINE_SECONDS`."""
    told = await asyncio.gather(*(_told_in_time(model) for model in models))
    return tuple(_load(model, engine) for model, engine in zip(models, told, strict=True))


async def _told(model: ServedModel) -> EngineLoad:
    if model.state not in ("serving", "draining"):
        return EngineLoad()
    try:
        return await model.backend.load()
    except BellhousingError:
        return EngineLoad()


async def _told_in_time(model: ServedModel) -> EngineLoad:
    try:
        async with asyncio.timeout(ENGINE_SECONDS):
            return await _told(model)
    except TimeoutError:
        logger.warning("the engine of model %r did not tell its load within %g s", model.name, ENGINE_SECONDS)
    except Exception:
        logger.exception("backend %r of model %r failed to tell its load", model.config.backend, model.name)
    return EngineLoad()


def _load(model: ServedModel, engine: EngineLoad, tenant: str | None = None) -> ModelLoad:
    gate = model.admission
    return ModelLoad(
        model=model.name,
        backend=model.config.backend,
        state=model.state,
        queued=gate.queued,
        queued_tokens=gate.queued_tokens,
        running=gate.running,
        max_running=gate.limits.max_running,
        tokens_in_flight=gate.running_tokens,
        drain_rate=gate.requests_per_second(),
        resident_adapters=tuple(model.adapters.resident(tenant)),
        waiting_adapters=tuple(model.adapters.waiting(tenant)),
        adapter_slots=model.config.adapter_slots,
        engine=engine,
    )
