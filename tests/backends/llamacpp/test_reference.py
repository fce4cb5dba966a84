"""Adapters on llama.cpp against the same ones on Transformers, over the same weights in float32."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

from bellhousing.backend import AdapterFiles
from bellhousing.gguf import read_header
from tests.backends.llamacpp.conftest import Running, Start, generate, request
from tests.backends.peft import write_adapter

PYTHON = Path(__file__).parents[3] / ".engines" / "vllm" / "bin" / "python"
SCRIPT = Path(__file__).with_name("reference_logprobs.py")
MODULES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
PROMPT = "Once upon a time there was a king who had three daughters, and the youngest of them was"
TOLERANCE = 0.002
"""Nats. Both compute in float32 and add in another order, which came to 0.0003 with adapters and without.

A key projection in the wrong order, or a scale of a half, is thousands of times that.
"""
LEAST_EFFECT = 1.0
"""Nats that an adapter moves some log probability by: a half that is left out or in another order is far outside."""


def write_float32(source: Path, target: Path) -> None:
    """Write a model with every tensor as float32: with fewer bits llama.cpp rounds activations as well."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        is_list = field.types[0] == GGUFValueType.ARRAY
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if is_list else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors_of(model: Path, rank: int, modules: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    header = read_header(model)
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(header.layers):
        for module, tensor in modules.items():
            rows, columns = header.shapes[f"blk.{layer}.{tensor}.weight"]
            name = f"base_model.model.model.layers.{layer}.{module}"
            found |= {f"{name}.lora_A.weight": (rank, columns), f"{name}.lora_B.weight": (rows, rank)}
    return found


@pytest.fixture(scope="module")
def float32_model(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float32") / "model.gguf"
    write_float32(model_path, path)
    return path


async def told(running: Running, ids: tuple[int, ...], adapter: str) -> dict[int, float]:
    """Return the log probabilities of the most probable next tokens, by id."""
    wanted = request(ids, logprobs=100, max_tokens=1, ignore_eos=True, adapter=adapter)
    (entry,) = (await generate(running, wanted)).logprobs
    return {top.id: top.logprob for top in entry.top if top.id is not None}


def reference(model: Path, adapter: Path | None, ids: tuple[int, ...], folder: Path) -> Any:
    out = folder / "logprobs.npy"
    command = [PYTHON, SCRIPT, model, adapter or "-", json.dumps(ids), out]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=200)
    return np.load(out)


@pytest.mark.engine
@pytest.mark.timeout(400)
async def test_adapters_move_every_log_probability_as_peft_does(
    starting: Start, float32_model: Path, tmp_path: Path
) -> None:
    queries_and_keys = ("self_attn.q_proj", "self_attn.k_proj")
    paths = {
        "": None,
        "all": written(tmp_path / "all", float32_model, tuple(MODULES)),
        "rslora": written(tmp_path / "rslora", float32_model, queries_and_keys, lora_alpha=4, use_rslora=True),
    }
    lora = {"cache_directory": tmp_path / "cache"}
    precise = {"cache_type_k": "f32", "cache_type_v": "f32", "flash_attention": "off", "context_per_sequence": 256}
    async with starting(path=float32_model, lora=lora, **precise) as running:
        ids = tuple(token.id for token in await running.backend.tokenize(PROMPT, add_special=True))
        for name, path in paths.items():
            if path is not None:
                await running.backend.load_adapter(AdapterFiles(name, str(path), digest_of(path)))
        found = {
            name: {place: await told(running, ids[: place + 1], name) for place in range(0, len(ids), 3)}
            for name in paths
        }
    expected = {name: reference(float32_model, path, ids, tmp_path) for name, path in paths.items()}
    for name in paths:
        assert off(found[name], expected[name]) < TOLERANCE
        assert not name or off(found[name], expected[""]) > LEAST_EFFECT


def written(folder: Path, model: Path, modules: tuple[str, ...], **config: Any) -> Path:
    chosen = {module: MODULES[module] for module in modules}
    targets = [module.rpartition(".")[2] for module in modules]
    return write_adapter(folder, tensors_of(model, 8, chosen), seed=1, spread=0.06, target_modules=targets, **config)


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256((path / 'adapter_model.safetensors').read_bytes()).hexdigest()}"


def off(found: Mapping[int, Mapping[int, float]], expected: Any) -> float:
    """Return the largest difference over some places and the tokens that were told there."""
    return max(abs(value - float(expected[at][token])) for at, told in found.items() for token, value in told.items())
