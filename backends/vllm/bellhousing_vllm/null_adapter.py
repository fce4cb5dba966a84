"""An adapter that changes nothing, for requests to the base model where vLLM computes on the CPU.

vLLM marks a token without adapter by the index -1. Its kernels for GPUs skip those tokens; the CPU's index the weights
with it, which takes the last slot: in a batch with other adapters, a request to the base model was answered with one of
them (seen with 0.32: without this the mixed batches of tests/backends/vllm/test_adapters.py fail).
"""

import json
import math
import struct
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing.lora import A_MARK, B_MARK, WEIGHTS
from bellhousing.safetensors import Shapes

TARGETS = ("q_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv", "o_proj", "down_proj")
FLOAT32_BYTES = 4


def write_null_adapter(directory: Path, base: Shapes) -> None:
    """Write an adapter of rank 1 and zeros for one module of the model. Raises `ConfigurationError` for none known."""
    module = next((name.removesuffix(".weight") for name, shape in base.items() if _is_target(name, shape)), None)
    if module is None:
        raise ConfigurationError(
            f"options.lora: expected a model with a module {', '.join(TARGETS)}, found none", reason="INVALID_MODEL"
        )
    rows, columns = base[f"{module}.weight"]
    target = module.rpartition(".")[2]
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": [target]}
    (directory / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    name = f"base_model.model.{module}"
    halves: Shapes = {f"{name}{A_MARK}weight": (1, columns), f"{name}{B_MARK}weight": (rows, 1)}
    (directory / WEIGHTS).write_bytes(_zeros(halves))


def _is_target(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and any(name.endswith(f".{target}.weight") for target in TARGETS)


def _zeros(shapes: Shapes) -> bytes:
    """Return a safetensors file of matrices of zeros."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * FLOAT32_BYTES
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)
