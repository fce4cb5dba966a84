"""The dashboard and the alerts, held against a real Prometheus that scrapes a real server under traffic."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bellhousing import AsyncClient, RetryPolicy
from bellhousing.errors import BellhousingError
from bellhousing.testing import Served, serving
from bellhousing_prometheus import PrometheusPlugin
from tests.deploy.prometheus import MONITORING, Prometheus, running
from tests.plugins.prometheus.scraping import scrape

DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana" / "dashboards" / "bellhousing.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {"$__rate_interval": "15s", "$job": ".*", "$model": ".*"}
DOCUMENT = MONITORING.parents[1] / "docs" / "monitoring.md"
OPTIONS = {
    "end_probability": 0.0,
    "inter_token_seconds": 0.005,
    "prefix_cache": True,
    "faults": [{"kind": "error", "after_tokens": 2, "match": "bad"}],
}


@asynccontextmanager
async def busy_server(root: Path, plugin: PrometheusPlugin) -> AsyncIterator[Served]:
    """Run a server and, until the body ends, send it a little of everything."""
    model = {"name": "m", "adapter_roots": [str(root)], "adapter_slots": 1}
    async with serving("simulator", plugin=plugin, options=OPTIONS, model=model) as served:
        for name in ("poet", "judge"):
            (root / f"{name}.safetensors").write_bytes(name.encode())
            await served.client.register_adapter(name, f"file://{root}/{name}.safetensors")
        traffic = asyncio.create_task(_send_for_ever(served.address))
        try:
            yield served
        finally:
            traffic.cancel()
            with suppress(asyncio.CancelledError):
                await traffic


async def _send_for_ever(address: str) -> None:
    requests: list[tuple[str, dict[str, Any]]] = [
        ("one and two and three and four " * 4, {}),
        ("abc", {"adapter": "poet"}),
        ("abc", {"adapter": "judge"}),
        ("abc", {"temperature": -1}),
        ("abc", {"n": 2}),
        ("bad", {}),
    ]
    async with AsyncClient(address, tenant="a", retry=RetryPolicy(attempts=1)) as client:
        while True:
            for prompt, fields in requests:
                with suppress(BellhousingError):
                    await client.complete(prompt, max_tokens=6, **fields)
            await asyncio.sleep(0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plugin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrometheusPlugin]:
    """The plugin of a server under traffic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BELLHOUSING_PROMETHEUS_PORT", "0")
        patch.setenv("BELLHOUSING_PROMETHEUS_LORA_INFO", "true")
        prometheus = PrometheusPlugin()
        async with busy_server(tmp_path_factory.mktemp("adapters"), prometheus):
            yield prometheus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(plugin: PrometheusPlugin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes that server."""
    target = plugin.url.removeprefix("http://").removesuffix("/metrics")
    async with running(tmp_path_factory.mktemp("prometheus"), target) as server:
        yield server


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of the dashboard with its panel's title, as Grafana would send it."""
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


async def unanswered(prometheus: Prometheus, seconds: float) -> list[tuple[str, str]]:
    """Return the queries of the dashboard that find nothing; those of a young server may need `seconds`."""
    loop = asyncio.get_running_loop()
    end, left = loop.time() + seconds, list(queries())
    while left and loop.time() < end:
        left = [query for query in left if not await prometheus.has_answer(query[1])]
        await asyncio.sleep(1)
    return left


@pytest.mark.toolchains
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(240)
class TestAgainstARealPrometheus:
    """With a server under traffic."""

    async def test_every_query_of_the_dashboard_finds_data(self, prometheus: Prometheus) -> None:
        assert await unanswered(prometheus, seconds=90) == []

    async def test_a_query_for_what_is_not_there_finds_none(self, prometheus: Prometheus) -> None:
        assert not await prometheus.has_answer("bellhousing_no_such_metric")

    async def test_every_rule_can_be_evaluated(self, prometheus: Prometheus) -> None:
        async with asyncio.timeout(60):
            while True:
                groups = (await prometheus.ask("rules"))["groups"]
                health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
                if health and "unknown" not in health.values():
                    break
                await asyncio.sleep(0.5)
        assert set(health.values()) == {"ok"}

    async def test_every_metric_that_an_alert_reads_exists(self, prometheus: Prometheus) -> None:
        names = set(re.findall(r"bellhousing[_:][a-z0-9_:]+", (MONITORING / "alerts.yml").read_text()))
        async with asyncio.timeout(60):
            while not await prometheus.has_answer("bellhousing:failed_requests:ratio_rate5m"):
                await asyncio.sleep(1)
        assert [name for name in sorted(names) if not await prometheus.has_answer(f"count({name})")] == []

    async def test_the_share_of_failed_requests_counts_the_engines_faults_and_not_the_callers(
        self, prometheus: Prometheus
    ) -> None:
        async with asyncio.timeout(60):
            while not await prometheus.has_answer("bellhousing:failed_requests:ratio_rate5m > 0"):
                await asyncio.sleep(1)
        (series,) = (await prometheus.ask("query", query="bellhousing:failed_requests:ratio_rate5m"))["result"]
        assert series["metric"]["model"] == "m"
        assert 0.05 < float(series["value"][1]) < 0.3  # one request in six fails, another is refused


def test_panels_tell_what_they_show_and_lie_beside_each_other() -> None:
    assert all(panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
    taken = [cell for panel in DASHBOARD["panels"] for cell in _cells(panel["gridPos"])]
    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_panels_use_the_chosen_data_source_and_no_other_variables_than_there_are() -> None:
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "job", "model"]
    assert all("$" not in expression for _, expression in queries())


@pytest.mark.asyncio(loop_scope="module")
async def test_the_documents_table_lists_every_metric_and_no_other(plugin: PrometheusPlugin) -> None:
    async with asyncio.timeout(30):
        while True:
            found = await scrape(plugin.url)
            if found.value("requests_total", code="INTERNAL") and found.value("adapter_evictions_total"):
                break
            await asyncio.sleep(0.2)
    exposed = {re.sub(r"_(bucket|count|sum|created)$", "", sample.name) for sample in found.samples}
    exposed = {name if f"{name}_total" not in exposed else f"{name}_total" for name in exposed}
    listed = set(re.findall(r"^\| `(bellhousing_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    # What the simulator does not tell of itself.
    untold = {"engine_requests_running", "speculative_acceptance_ratio"}
    assert exposed == listed - {f"bellhousing_{name}" for name in untold}
