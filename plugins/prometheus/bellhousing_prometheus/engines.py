"""Metrics of engines and their adapters, recorded as they happen."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from bellhousing.buckets import REQUEST_DURATION
from bellhousing.config import Config
from bellhousing.hookspecs import AdapterEvent, EngineEvent, ThrashEvent
from bellhousing_prometheus.labels import BoundedLabel


class EngineMetrics:
    """Deaths of engines, and loads and evictions of adapters, in `registry`.

    Counters of a model begin at 0 with the server, so that the first death is an increase.
    """

    def __init__(self, registry: CollectorRegistry, config: Config, adapters: BoundedLabel) -> None:
        names = ("model", "backend")
        self._adapters = adapters
        self._is_down: set[str] = set()
        self._deaths = Counter(
            "bellhousing_engine_deaths", "Engines that died by themselves.", names, registry=registry
        )
        self._evictions = Counter(
            "bellhousing_adapter_evictions", "Adapters that made room for another.", names, registry=registry
        )
        self._thrash = Counter(
            "bellhousing_adapter_thrash",
            "Minutes in which adapters were loaded that had just been evicted, one or more for each slot.",
            names,
            registry=registry,
        )
        self._loads = Counter(
            "bellhousing_adapter_loads",
            "Loads of adapters onto the device.",
            (*names, "adapter", "result"),
            registry=registry,
        )
        self._seconds = Histogram(
            "bellhousing_adapter_load_seconds",
            "Time that a load of an adapter took.",
            names,
            buckets=REQUEST_DURATION,
            registry=registry,
        )
        for model in config.models:
            self._deaths.labels(model.name, model.backend)
            self._evictions.labels(model.name, model.backend)
            self._thrash.labels(model.name, model.backend)

    def engine_changed(self, event: EngineEvent) -> None:
        """Count a death: the first time that a model that served has to start again."""
        if event.state == "restarting" and event.model not in self._is_down:
            self._deaths.labels(event.model, event.backend).inc()
            self._is_down.add(event.model)
        elif event.state == "serving":
            self._is_down.discard(event.model)

    def adapter_changed(self, event: AdapterEvent) -> None:
        """Count a load or an eviction."""
        if event.change == "evicted":
            self._evictions.labels(event.model, event.backend).inc()
        elif event.change in ("loaded", "load_failed"):
            result = "ok" if event.change == "loaded" else "failed"
            self._loads.labels(event.model, event.backend, self._adapters.value(event.adapter), result).inc()
            if event.change == "loaded":
                self._seconds.labels(event.model, event.backend).observe(event.seconds)

    def adapters_thrash(self, event: ThrashEvent) -> None:
        """Count a minute of thrashing."""
        self._thrash.labels(event.model, event.backend).inc()
