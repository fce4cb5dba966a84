"""Metrics of a server's load, asked for when Prometheus scrapes."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bellhousing.load import Loads, ModelLoad
from bellhousing.models import ModelState

SHARED_SECONDS = 1.0
"""Scrapes within this time share one look at the engines, however many there are."""
PATIENCE_SECONDS = 5.0
"""How long a scrape waits for the server's event loop. Then it fails: a server that hangs must not look well."""
NAMES = ("model", "backend")
Figure = Callable[[ModelLoad], float | None]

GAUGES: tuple[tuple[str, str, Figure], ...] = (
    ("model_requests_waiting", "Requests in the queue, as GetLoad tells.", lambda load: load.queued),
    ("model_requests_running", "Requests that hold a place, as GetLoad tells.", lambda load: load.running),
    ("max_running_requests", "Requests that may hold a place.", lambda load: load.max_running),
    ("queued_tokens", "Estimated tokens of the requests in the queue.", lambda load: load.queued_tokens),
    ("tokens_in_flight", "Estimated tokens of the requests that hold a place.", lambda load: load.tokens_in_flight),
    ("adapters_resident", "Adapters on the device.", lambda load: len(load.resident_adapters)),
    ("adapter_slots", "Adapters that may be on the device.", lambda load: load.adapter_slots),
    ("engine_requests_running", "Requests that the engine runs.", lambda load: load.engine.running),
    ("engine_requests_waiting", "Requests that wait inside the engine.", lambda load: load.engine.waiting),
    ("kv_cache_usage_ratio", "Share of the KV cache in use, 0 to 1.", lambda load: load.engine.kv_cache_usage),
    (
        "speculative_acceptance_ratio",
        "Share of drafted tokens that were accepted, 0 to 1.",
        lambda load: load.engine.speculative_acceptance,
    ),
)
COUNTERS: tuple[tuple[str, str, Figure], ...] = (
    (
        "prefix_cache_queried_tokens",
        "Tokens looked up in the prefix cache since the engine started.",
        lambda load: load.engine.prefix_cache_queries,
    ),
    ("prefix_cache_hit_tokens", "Of these, tokens found.", lambda load: load.engine.prefix_cache_hits),
)


WaitingAdapters = Callable[[str], Sequence[str]]
"""Returns the adapters that a model's waiting requests name, sorted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look at the server found: each model's load and the adapters that wait, by model, if asked for."""

    taken: float = -SHARED_SECONDS
    loads: tuple[ModelLoad, ...] = ()
    waiting: Mapping[str, Sequence[str]] = field(default_factory=dict)


class LoadCollector(Collector):
    """Asks a server for its load from the threads that serve scrapes. Build it in the server's event loop.

    What an engine does not tell is absent, never 0. With `waiting` it tells the names of adapters too.
    """

    def __init__(self, loads: Loads, waiting: WaitingAdapters | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loads = loads
        self._waiting = waiting
        self._looking = asyncio.Lock()
        self._sample = Sample()

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registering must not ask the engines."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the load now. Raises `TimeoutError` when the server's event loop does not answer."""
        sample = asyncio.run_coroutine_threadsafe(self._look(), self._loop).result(PATIENCE_SECONDS)
        for name, help_text, figure in GAUGES:
            gauge = GaugeMetricFamily(f"bellhousing_{name}", help_text, labels=NAMES)
            for who, value in _told(sample.loads, figure):
                gauge.add_metric(who, value)
            yield gauge
        for name, help_text, figure in COUNTERS:
            counter = CounterMetricFamily(f"bellhousing_{name}", help_text, labels=NAMES)
            for who, value in _told(sample.loads, figure):
                counter.add_metric(who, value)
            yield counter
        yield _states(sample)
        if self._waiting:
            yield _lora_info(sample)

    async def _look(self) -> Sample:
        async with self._looking:
            if time.monotonic() - self._sample.taken >= SHARED_SECONDS:
                loads = await self._loads()
                waiting = {load.model: self._waiting(load.model) for load in loads} if self._waiting else {}
                self._sample = Sample(time.monotonic(), loads, waiting)
            return self._sample


def _told(loads: Sequence[ModelLoad], figure: Figure) -> Iterator[tuple[tuple[str, str], float]]:
    for load in loads:
        value = figure(load)
        if value is not None:
            yield (load.model, load.backend), value


def _states(sample: Sample) -> Metric:
    family = GaugeMetricFamily("bellhousing_model_state", "1 for the state a model is in.", labels=(*NAMES, "state"))
    for load in sample.loads:
        for state in get_args(ModelState):
            family.add_metric((load.model, load.backend, state), float(state == load.state))
    return family


def _lora_info(sample: Sample) -> Metric:
    """Return the adapters as the model server protocol of the Gateway API inference extension asks for them."""
    names = (*NAMES, "max_lora", "running_lora_adapters", "waiting_lora_adapters")
    family = GaugeMetricFamily("bellhousing_lora_requests_info", "Unix time; the labels tell adapters.", labels=names)
    for load in sample.loads:
        running, waiting = ",".join(load.resident_adapters), ",".join(sample.waiting[load.model])
        family.add_metric((load.model, load.backend, str(load.adapter_slots), running, waiting), time.time())
    return family
