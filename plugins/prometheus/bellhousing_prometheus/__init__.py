"""A plugin: the server's metrics over HTTP, in the text format of Prometheus."""

from bellhousing_prometheus.plugin import PrometheusPlugin

__all__ = ["PrometheusPlugin", "plugin"]

plugin = PrometheusPlugin()
