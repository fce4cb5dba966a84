"""One real vLLM for the whole folder, behind a real server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bellhousing.testing import Served, serving
from bellhousing.testing.probe import Probe
from bellhousing_vllm import VllmBackend

ENGINES = Path(__file__).parents[3] / ".engines"
FRANCE = "The capital of France is"
PROMPT = "one two three four five six seven"
CONTEXT = 1024
SEQUENCES = 16
MOST_IN_A_STEP = 256
"""Tokens, fewer than the context: long prompts are prefilled in parts."""
MAX_RANK = 16
MOST_ON_HOST = 12
OPTIONS: dict[str, Any] = {
    "eager": True,
    "dtype": "float32",  # in bfloat16 near ties fall one way alone and another in a batch
    "context_length": CONTEXT,
    "kv_cache_gib": 0.5,
    "lora": {"max_loras": 4, "max_cpu_loras": MOST_ON_HOST, "max_rank": MAX_RANK},
}


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The real model; a missing one fails the tests that need it."""
    path = ENGINES / "smollm2"
    assert (path / "config.json").is_file(), f"expected a model in {path}; run `make engines`"
    return path


@pytest.fixture(scope="session")
def adapters_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the shared engine takes adapters from."""
    return tmp_path_factory.mktemp("adapters")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(model_path: Path, adapters_path: Path) -> AsyncIterator[Served]:
    """One server and engine that tests share."""
    model: dict[str, Any] = {
        "name": "smollm2",
        "model": str(model_path),
        "adapter_roots": [str(adapters_path)],
        "batching": {"max_sequences": SEQUENCES, "max_batched_tokens": MOST_IN_A_STEP},
    }
    async with serving(VllmBackend, options=OPTIONS, model=model) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def probe(served: Served) -> Probe:
    """The shared engine as core uses it."""
    return Probe(served.model.backend, served.model.info, PROMPT, seconds=60.0)
