"""The metrics of a real server, read as Prometheus reads them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bellhousing import AsyncClient
from bellhousing.config import load_config
from bellhousing.errors import BellhousingError, ConfigurationError, EngineFault, InvalidRequest, NotFound
from bellhousing.plugins import Plugins
from bellhousing.server import Server
from bellhousing.testing import Served, serving
from bellhousing_prometheus import PrometheusPlugin
from tests.plugins.prometheus.scraping import Scrape, scrape

ENDLESS = {"end_probability": 0.0}
SLOW = {**ENDLESS, "first_token_seconds": 60.0}


async def reaches(plugin: PrometheusPlugin, name: str, value: float, **labels: str) -> Scrape:
    """Return the first scrape in which a metric has a value; fail after five seconds."""
    found = await scrape(plugin.url)
    async with asyncio.timeout(20):
        while found.value(name, **labels) != value:
            await asyncio.sleep(0.02)
            found = await scrape(plugin.url)
    return found


async def test_a_request_is_counted_with_its_tokens_under_who_asked(plugin: PrometheusPlugin) -> None:
    async with serving("simulator", plugin=plugin, options=ENDLESS, model={"name": "m"}) as served:
        async with AsyncClient(served.address, tenant="a") as client:
            await client.complete("abc", max_tokens=5)
        found = await scrape(plugin.url)
    who = ("m", "simulator", "", "a")
    keys = ("model", "backend", "adapter", "tenant")
    assert found.values("requests_total", *keys, "code", "reason") == {(*who, "OK", "max_tokens"): 1}
    assert found.values("prompt_tokens_total", *keys, "code") == {(*who, "OK"): 3}
    assert found.values("completion_tokens_total", *keys, "code") == {(*who, "OK"): 5}


async def test_each_part_of_a_request_is_timed(plugin: PrometheusPlugin) -> None:
    async with serving("simulator", plugin=plugin, options=ENDLESS) as served:
        await served.client.complete("abc", max_tokens=5)
        found = await scrape(plugin.url)
    expected = {
        "request_duration_seconds": 1,
        "queue_seconds": 1,
        "time_to_first_token_seconds": 1,
        "prefill_seconds": 1,
        "decode_seconds": 1,
        "time_per_output_token_seconds": 1,
        "inter_token_latency_seconds": 4,
    }
    assert {name: found.value(f"{name}_count") for name in expected} == expected


async def test_the_parts_of_a_request_add_up_to_its_duration(plugin: PrometheusPlugin) -> None:
    options = {**ENDLESS, "prefill_seconds_per_token": 0.01, "inter_token_seconds": 0.02}
    async with serving("simulator", plugin=plugin, options=options) as served:
        await served.client.complete("abc", max_tokens=5)
        found = await scrape(plugin.url)
    queue, prefill, decode, whole, first, gaps, mean = (
        found.value(f"{name}_sum")
        for name in (
            "queue_seconds",
            "prefill_seconds",
            "decode_seconds",
            "request_duration_seconds",
            "time_to_first_token_seconds",
            "inter_token_latency_seconds",
            "time_per_output_token_seconds",
        )
    )
    assert first == pytest.approx(queue + prefill)
    assert decode == pytest.approx(gaps)
    assert mean == pytest.approx(decode / 4)
    assert first + decode <= whole
    assert prefill > 0.02  # what the simulator waits for three tokens of prompt, however busy the machine is


async def test_gaps_are_taken_within_a_sequence(plugin: PrometheusPlugin) -> None:
    options = {**ENDLESS, "inter_token_seconds": 0.02}
    async with serving("simulator", plugin=plugin, options=options) as served:
        await served.client.complete("abc", max_tokens=4, n=3)
        found = await scrape(plugin.url)
    assert found.value("inter_token_latency_seconds_count") == 9
    assert found.value("time_per_output_token_seconds_sum") == pytest.approx(found.value("decode_seconds_sum") / 3)


async def test_a_refusal_is_counted_by_its_reason_and_times_nothing(plugin: PrometheusPlugin) -> None:
    async with serving("simulator", plugin=plugin, model={"name": "m"}) as served:
        with pytest.raises(InvalidRequest):
            await served.client.complete("abc", temperature=-1)
        with pytest.raises(NotFound):
            await served.client.complete("abc", model="nobody")
        found = await scrape(plugin.url)
    assert found.values("requests_total", "model", "code", "reason") == {
        ("m", "INVALID_ARGUMENT", "INVALID_REQUEST"): 1,
        ("", "NOT_FOUND", "MODEL_NOT_FOUND"): 1,
    }
    assert found.value("request_duration_seconds_count") == 0


async def test_a_failure_is_timed_apart_from_successes_and_counts_its_tokens(plugin: PrometheusPlugin) -> None:
    options = {**ENDLESS, "faults": [{"kind": "error", "after_tokens": 3, "match": "bad"}]}
    async with serving("simulator", plugin=plugin, options=options) as served:
        await served.client.complete("abc", max_tokens=4)
        with pytest.raises(EngineFault):
            await served.client.complete("bad", max_tokens=4)
        found = await scrape(plugin.url)
    assert found.values("completion_tokens_total", "code") == {("OK",): 4, ("INTERNAL",): 3}
    assert found.values("request_duration_seconds_count", "code") == {("OK",): 1, ("INTERNAL",): 1}
    assert found.value("time_to_first_token_seconds_count") == 2
    assert found.value("time_per_output_token_seconds_count") == 1


async def test_a_request_that_fails_before_a_token_is_in_no_ttft(plugin: PrometheusPlugin) -> None:
    async with serving("simulator", plugin=plugin, options=SLOW) as served:
        with pytest.raises(BellhousingError):
            await served.client.complete("abc", timeout=0.2)
        found = await reaches(plugin, "requests_total", 1)
    assert found.value("time_to_first_token_seconds_count") == 0


async def test_what_waits_and_what_runs_is_told_while_it_does(plugin: PrometheusPlugin) -> None:
    model = {"admission": {"max_running": 1}}
    async with serving("simulator", plugin=plugin, options=SLOW, model=model) as served:
        tasks = [asyncio.create_task(served.client.complete("abc", request_id=f"r{i}")) for i in range(3)]
        await reaches(plugin, "requests_waiting", 2)
        found = await reaches(plugin, "model_requests_waiting", 2)
        assert (found.value("requests_running"), found.value("model_requests_running")) == (1, 1)
        for task in tasks:
            task.cancel()
        await reaches(plugin, "requests_total", 3, code="CANCELLED")
        found = await reaches(plugin, "model_requests_waiting", 0)
        assert (found.value("requests_waiting"), found.value("requests_running")) == (0, 0)


async def test_the_load_that_the_engine_tells_is_there_and_what_it_does_not_tell_is_not(
    plugin: PrometheusPlugin,
) -> None:
    options = {**ENDLESS, "prefix_cache": True}
    async with serving("simulator", plugin=plugin, options=options, model={"name": "m"}) as served:
        await served.client.complete("a" * 64, max_tokens=1)
        await served.client.complete("a" * 64, max_tokens=1)
        told = await served.client.load()
        found = await scrape(plugin.url)
    assert found.value("prefix_cache_hit_tokens_total") == told.prefix_cache_hits > 0
    assert found.value("prefix_cache_queried_tokens_total") == told.prefix_cache_queries
    assert found.value("cached_tokens_total") == told.prefix_cache_hits
    assert found.value("kv_cache_usage_ratio", model="m") == 0
    assert found.has("kv_cache_usage_ratio")
    assert not found.has("speculative_acceptance_ratio")
    assert found.value("model_state", model="m", state="serving") == 1


@asynccontextmanager
async def with_adapters(plugin: PrometheusPlugin, root: Path, slots: int = 1) -> AsyncIterator[Served]:
    """Serve the simulator with three adapters known."""
    model = {"name": "m", "adapter_roots": [str(root)], "adapter_slots": slots}
    async with serving("simulator", plugin=plugin, options=ENDLESS, model=model) as served:
        for name in ("poet", "judge", "clerk"):
            (root / f"{name}.safetensors").write_bytes(name.encode())
            await served.client.register_adapter(name, f"file://{root}/{name}.safetensors")
        yield served


async def test_adapters_are_told_apart_and_their_loads_counted(plugin: PrometheusPlugin, tmp_path: Path) -> None:
    async with with_adapters(plugin, tmp_path) as served:
        assert (await scrape(plugin.url)).values("adapter_evictions_total", "model") == {}
        for name in ("poet", "poet", "judge"):
            await served.client.complete("abc", adapter=name, max_tokens=2)
        await asyncio.sleep(1.05)  # scrapes within a second share one look
        found = await scrape(plugin.url)
    assert found.values("requests_total", "adapter") == {("poet",): 2, ("judge",): 1}
    assert found.values("adapter_loads_total", "adapter", "result") == {("poet", "ok"): 1, ("judge", "ok"): 1}
    assert found.value("adapter_load_seconds_count") == 2
    assert found.value("adapter_evictions_total") == 1
    assert (found.value("adapters_resident"), found.value("adapter_slots")) == (1, 1)


async def test_adapters_and_tenants_past_the_limit_share_a_label(
    plugin: PrometheusPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELLHOUSING_PROMETHEUS_MAX_ADAPTERS", "1")
    monkeypatch.setenv("BELLHOUSING_PROMETHEUS_MAX_TENANTS", "1")
    async with with_adapters(plugin, tmp_path) as served:
        for tenant, adapter in (("a", "poet"), ("b", "judge"), ("c", "clerk"), ("a", "poet")):
            async with AsyncClient(served.address, tenant=tenant) as client:
                await client.complete("abc", adapter=adapter, max_tokens=1)
        found = await scrape(plugin.url)
    assert found.values("requests_total", "tenant", "adapter") == {("a", "poet"): 2, ("other", "other"): 2}
    assert found.values("adapter_loads_total", "adapter") == {("poet",): 2, ("other",): 2}


async def test_adapters_that_are_not_known_take_no_place_among_the_labels(
    plugin: PrometheusPlugin, tmp_path: Path
) -> None:
    async with with_adapters(plugin, tmp_path) as served:
        with pytest.raises(NotFound):
            await served.client.complete("abc", adapter="made-up")
        found = await scrape(plugin.url)
    assert found.values("requests_total", "adapter", "reason") == {("", "ADAPTER_NOT_FOUND"): 1}


async def test_the_gateways_adapter_metric_is_there_when_asked_for(
    plugin: PrometheusPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_adapters(plugin, tmp_path):
        assert not (await scrape(plugin.url)).has("lora_requests_info")
    monkeypatch.setenv("BELLHOUSING_PROMETHEUS_LORA_INFO", "true")
    async with with_adapters(plugin, tmp_path, slots=2) as served:
        for name in ("poet", "judge"):
            await served.client.complete("abc", adapter=name, max_tokens=1)
        (sample,) = (await scrape(plugin.url)).matching("lora_requests_info")
    told = {name: sample.labels[name] for name in ("max_lora", "running_lora_adapters", "waiting_lora_adapters")}
    assert told == {"max_lora": "2", "running_lora_adapters": "judge,poet", "waiting_lora_adapters": ""}


async def test_a_death_is_counted_once_however_often_the_engine_is_started_again(plugin: PrometheusPlugin) -> None:
    options = {**ENDLESS, "faults": [{"kind": "die", "match": "poison"}]}
    model = {"restart": {"first_seconds": 0.05}}
    async with serving("simulator", plugin=plugin, options=options, model=model) as served:
        assert (await scrape(plugin.url)).has("engine_deaths_total")
        with pytest.raises(BellhousingError):
            await served.client.complete("poison")
        await reaches(plugin, "engine_deaths_total", 1)
        await reaches(plugin, "model_state", 1, state="serving")
        assert (await scrape(plugin.url)).value("engine_deaths_total") == 1


async def test_metrics_tell_of_a_model_that_is_still_loading(plugin: PrometheusPlugin) -> None:
    plugins = Plugins()
    plugins.register(plugin)
    models = [{"backend": "simulator", "name": "m", "options": {"load_seconds": 60.0}}]
    server = Server(load_config(None, {"server": {"port": 0}, "models": models}), plugins)
    await server.start()
    try:
        await reaches(plugin, "model_state", 1, model="m", state="loading")
    finally:
        await server.stop()


async def test_neither_prompts_nor_outputs_are_in_the_metrics(plugin: PrometheusPlugin) -> None:
    async with serving("simulator", plugin=plugin) as served:
        answer = await served.client.complete("a secret prompt", max_tokens=16, ignore_eos=True)
        found = await scrape(plugin.url)
    assert "secret" not in str(found.samples)
    assert answer.outputs[0].text not in str(found.samples)


async def test_a_port_in_use_is_refused_before_anything_loads(
    plugin: PrometheusPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("BELLHOUSING_PROMETHEUS_PORT", str(taken.getsockname()[1]))
        with pytest.raises(ConfigurationError, match=r"cannot serve metrics on 127\..*: Address already in use"):
            async with serving("simulator", plugin=plugin):
                pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "many", r"variables BELLHOUSING_PROMETHEUS_\*: port: .* found 'many'"),
        ("PROT", "9464", "unknown variable BELLHOUSING_PROMETHEUS_PROT; known ones: BELLHOUSING_PROMETHEUS_PORT"),
    ],
)
async def test_a_wrong_variable_is_refused_by_name(
    plugin: PrometheusPlugin, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"BELLHOUSING_PROMETHEUS_{name}", value)
    with pytest.raises(ConfigurationError, match=message):
        async with serving("simulator", plugin=plugin):
            pass


async def test_without_a_port_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BELLHOUSING_PROMETHEUS_PORT", raising=False)
    plugin = PrometheusPlugin()
    async with serving("simulator", plugin=plugin) as served:
        await served.client.complete("abc", max_tokens=2)
        assert plugin.url == ""


async def test_it_listens_on_loopback_tells_where_and_ends_with_the_server(
    plugin: PrometheusPlugin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bellhousing_prometheus")
    async with serving("simulator", plugin=plugin):
        url = plugin.url
    assert url.startswith("http://127.0.0.1:")
    assert f"metrics for Prometheus at {url}" in caplog.messages
    with pytest.raises(OSError, match="refused"), socket.create_connection(_place(url)):
        pass


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    return host, int(port)


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert "prometheus" in Plugins.installed().names()


def test_a_scrape_that_finds_the_server_stuck_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread must not wait for ever, and what it last saw is not now."""
    from bellhousing_prometheus import load

    async def never() -> Any:
        await asyncio.sleep(3600)

    async def collect() -> None:
        collector = load.LoadCollector(never)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(lambda: list(collector.collect()))

    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0.05)
    asyncio.run(collect())
