"""The hooks: what a server tells becomes spans and measurements."""

from bellhousing.hookspecs import hookimpl
from bellhousing.timeline import Timeline
from bellhousing_otel.exporter import Exporter
from bellhousing_otel.settings import OtelSettings
from bellhousing_otel.spans import record_span


class OtelPlugin:
    """The plugin. It sends nothing until a server's configuration shows it an endpoint."""

    def __init__(self) -> None:
        self._exporter: Exporter | None = None

    @hookimpl
    def bellhousing_configure(self) -> None:
        """Begin to send. Raises `ConfigurationError` for a wrong variable; a collector may come later."""
        self.bellhousing_server_stopped()
        endpoint = OtelSettings.from_environment().endpoint
        self._exporter = Exporter(endpoint) if endpoint else None

    @hookimpl
    def bellhousing_server_stopped(self) -> None:
        """Send what is left."""
        exporter, self._exporter = self._exporter, None
        if exporter:
            exporter.close()

    @hookimpl
    def bellhousing_request_refused(self, timeline: Timeline) -> None:
        """Count it and record its span."""
        if self._exporter:
            self._exporter.requests.refused(timeline)
            record_span(self._exporter.tracer, timeline)

    @hookimpl
    def bellhousing_request_received(self, timeline: Timeline) -> None:
        """Note that it is active."""
        if self._exporter:
            self._exporter.requests.received(timeline)

    @hookimpl
    def bellhousing_first_token(self, timeline: Timeline) -> None:
        """Observe TTFT."""
        if self._exporter:
            self._exporter.requests.first_token(timeline)

    @hookimpl
    def bellhousing_request_finished(self, timeline: Timeline) -> None:
        """Count it and record its span."""
        if self._exporter:
            self._exporter.requests.finished(timeline)
            record_span(self._exporter.tracer, timeline)
