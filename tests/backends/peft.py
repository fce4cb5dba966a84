"""Adapters as PEFT writes them, made for the occasion."""

import json
import math
import random
import struct
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Tensors = Mapping[str, tuple[int, ...]]


def safetensors(tensors: Tensors, fill: Callable[[int], bytes] = bytes) -> bytes:
    """Return a safetensors file of float32 tensors: zeros, or as many bytes as `fill` is asked for."""
    header, body = {}, b""
    for name, shape in tensors.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + size]}
        body += fill(size)
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def write_adapter(path: Path, tensors: Tensors, *, seed: int | None = None, spread: float = 0.3, **config: Any) -> Path:
    """Write a PEFT adapter of these tensors: zeros, or with a seed normal random numbers. `config` changes its own."""
    path.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)

    def normal(size: int) -> bytes:
        return array("f", [draw.gauss(0, spread) for _ in range(size // 4)]).tobytes()

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
