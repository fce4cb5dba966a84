"""The plugin, switched on at a free port."""

from collections.abc import Iterator

import pytest

from bellhousing_prometheus import PrometheusPlugin


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusPlugin]:
    """A plugin that serves its metrics as soon as a server is configured."""
    monkeypatch.setenv("BELLHOUSING_PROMETHEUS_PORT", "0")
    prometheus = PrometheusPlugin()
    yield prometheus
    prometheus.bellhousing_server_stopped()
