"""The hooks: what a server tells becomes metrics, which are served over HTTP."""

import logging
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Info, start_http_server

from bellhousing import __version__
from bellhousing.config import Config
from bellhousing.errors import ConfigurationError
from bellhousing.hookspecs import AdapterEvent, EngineEvent, ThrashEvent, hookimpl
from bellhousing.load import Loads
from bellhousing.timeline import Timeline
from bellhousing_prometheus.engines import EngineMetrics
from bellhousing_prometheus.labels import BoundedLabel
from bellhousing_prometheus.load import LoadCollector
from bellhousing_prometheus.requests import RequestMetrics
from bellhousing_prometheus.settings import PrometheusSettings

logger = logging.getLogger(__name__)


class _Exporter:
    """The metrics of one server and the HTTP server that tells them. Raises `ConfigurationError`."""

    def __init__(self, settings: PrometheusSettings, port: int, config: Config) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        Info("bellhousing_build", "The server's version.", registry=self.registry).info({"version": __version__})
        adapters = BoundedLabel(settings.max_adapters)
        self.requests = RequestMetrics(self.registry, adapters, BoundedLabel(settings.max_tenants))
        self.engines = EngineMetrics(self.registry, config, adapters)
        self._http = _listen(settings.host, port, self.registry)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{host}:{self._http.server_port}/metrics"

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()


class PrometheusPlugin:
    """The plugin. It does nothing until a server's configuration shows it a port; `url` tells where the metrics are."""

    def __init__(self) -> None:
        self._exporter: _Exporter | None = None

    @property
    def url(self) -> str:
        """Where the metrics are served; empty when they are not."""
        return self._exporter.url if self._exporter else ""

    @hookimpl
    def bellhousing_configure(self, config: Config) -> None:
        """Serve the metrics. Raises `ConfigurationError` when the address cannot be listened on."""
        self.bellhousing_server_stopped()
        settings = PrometheusSettings.from_environment()
        if settings.port is not None:
            self._exporter = _Exporter(settings, settings.port, config)
            logger.info("metrics for Prometheus at %s", self.url)

    @hookimpl
    def bellhousing_server_started(self, loads: Loads) -> None:
        """Tell the load too from now on."""
        if self._exporter:
            tells_adapters = self._exporter.settings.lora_info
            waiting = self._exporter.requests.waiting_adapters if tells_adapters else None
            self._exporter.registry.register(LoadCollector(loads, waiting))

    @hookimpl
    def bellhousing_server_stopped(self) -> None:
        """Stop serving the metrics."""
        exporter, self._exporter = self._exporter, None
        if exporter:
            exporter.close()

    @hookimpl
    def bellhousing_request_refused(self, timeline: Timeline) -> None:
        """Count it."""
        if self._exporter:
            self._exporter.requests.refused(timeline)

    @hookimpl
    def bellhousing_request_received(self, timeline: Timeline) -> None:
        """Note that it waits."""
        if self._exporter:
            self._exporter.requests.received(timeline)

    @hookimpl
    def bellhousing_request_dispatched(self, timeline: Timeline) -> None:
        """Note that it runs."""
        if self._exporter:
            self._exporter.requests.dispatched(timeline)

    @hookimpl
    def bellhousing_first_token(self, timeline: Timeline) -> None:
        """Observe TTFT."""
        if self._exporter:
            self._exporter.requests.first_token(timeline)

    @hookimpl
    def bellhousing_delta(self, timeline: Timeline, tokens: int, index: int) -> None:
        """Observe inter-token latency."""
        if self._exporter:
            self._exporter.requests.delta(timeline, tokens, index)

    @hookimpl
    def bellhousing_request_finished(self, timeline: Timeline) -> None:
        """Count it, its tokens and its times."""
        if self._exporter:
            self._exporter.requests.finished(timeline)

    @hookimpl
    def bellhousing_engine_changed(self, event: EngineEvent) -> None:
        """Count deaths."""
        if self._exporter:
            self._exporter.engines.engine_changed(event)

    @hookimpl
    def bellhousing_adapters_thrash(self, event: ThrashEvent) -> None:
        """Count it."""
        if self._exporter:
            self._exporter.engines.adapters_thrash(event)

    @hookimpl
    def bellhousing_adapter_changed(self, event: AdapterEvent) -> None:
        """Count loads and evictions."""
        if self._exporter:
            self._exporter.engines.adapter_changed(event)


def _listen(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve metrics on {host}:{port}: {error.strerror}",
            reason="CANNOT_LISTEN",
            hint="Set BELLHOUSING_PROMETHEUS_PORT to another port, or 0 for a free one.",
        ) from error
    return server
