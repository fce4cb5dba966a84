"""The SDK's providers, which send to a collector from threads of their own."""

import os
import threading

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bellhousing import __version__
from bellhousing_otel.metrics import RequestMetrics

SCOPE = "bellhousing"
CLOSE_SECONDS = 5.0
"""How long the end of a server may wait for the last traces to be sent: the collector may be gone."""


class Exporter:
    """Sends the traces and metrics of one server to a collector at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        resource = _resource()
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint))
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self.tracer = self._traces.get_tracer(SCOPE, __version__)
        self.requests = RequestMetrics(self._meters.get_meter(SCOPE, __version__))

    def close(self) -> None:
        """Send what is left, within `CLOSE_SECONDS`."""
        closing = [threading.Thread(target=p.shutdown, daemon=True) for p in (self._traces, self._meters)]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(CLOSE_SECONDS)


def _resource() -> Resource:
    """Return who sends: ours, and over it what the standard variables say."""
    own: dict[str, str | int] = {"service.name": SCOPE, "service.version": __version__, "process.pid": os.getpid()}
    return Resource.create(own).merge(OTELResourceDetector().detect())
