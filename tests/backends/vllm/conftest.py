"""One real vLLM for the whole folder, behind a real server; and adapters made for the occasion."""

import json
import math
import random
import struct
from array import array
from collections.abc import AsyncIterator, Callable, Mapping
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
MAX_RANK = 16
OPTIONS: dict[str, Any] = {
    "eager": True,
    "dtype": "float32",  # in bfloat16 near ties fall one way alone and another in a batch
    "context_length": CONTEXT,
    "kv_cache_gib": 0.5,
    "lora": {"max_loras": 4, "max_rank": MAX_RANK},
}

Tensors = Mapping[str, tuple[int, ...]]


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
        "batching": {"max_sequences": SEQUENCES},
    }
    async with serving(VllmBackend, options=OPTIONS, model=model) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def probe(served: Served) -> Probe:
    """The shared engine as core uses it."""
    return Probe(served.model.backend, served.model.info, PROMPT, seconds=60.0)


def safetensors(tensors: Tensors, fill: Callable[[int], bytes] = bytes) -> bytes:
    """Return a safetensors file of float32 tensors: zeros, or as many bytes as `fill` is asked for."""
    header, body = {}, b""
    for name, shape in tensors.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + size]}
        body += fill(size)
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def write_adapter(path: Path, tensors: Tensors, *, seed: int | None = None, **config: Any) -> Path:
    """Write a PEFT adapter of these tensors: zeros, or with a seed normal random numbers. `config` changes its own."""
    path.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)

    def normal(size: int) -> bytes:
        return array("f", [draw.gauss(0, 0.3) for _ in range(size // 4)]).tobytes()

    rank = next((shape[0] for name, shape in tensors.items() if ".lora_A." in name), 8)
    described = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"], **config}
    (path / "adapter_config.json").write_text(json.dumps(described))
    (path / "adapter_model.safetensors").write_bytes(safetensors(tensors, bytes if seed is None else normal))
    return path


def halves(layers: int, width: int, rank: int = 8, module: str = "self_attn.q_proj") -> dict[str, tuple[int, ...]]:
    """Return the tensors of an adapter of a square module in each layer."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.{module}"
        found |= {f"{name}.lora_A.weight": (rank, width), f"{name}.lora_B.weight": (width, rank)}
    return found
