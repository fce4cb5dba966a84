"""A plugin: one span for each request, and metrics, to an OpenTelemetry collector."""

from bellhousing_otel.plugin import OtelPlugin

__all__ = ["OtelPlugin", "plugin"]

plugin = OtelPlugin()
