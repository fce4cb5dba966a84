"""From PEFT's safetensors to the GGUF that llama.cpp reads. What GGUF has no room for is refused by name.

The arithmetic is that of llama.cpp's own converter, for the architectures where it changes at most the order of rows.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bellhousing.errors import PreconditionFailed
from bellhousing.gguf import Header
from bellhousing.lora import A_MARK, B_MARK, GGUF_A, GGUF_B
from bellhousing.safetensors import Entry
from bellhousing_llamacpp.errors import NAME

if TYPE_CHECKING:
    import numpy as np

PERMUTED = frozenset({"granite", "llama", "smollm3"})
"""Architectures whose GGUF has the rows of queries and keys in another order than Transformers has."""
PLAIN = frozenset({"gemma", "gemma2", "gemma3", "olmo2", "phi3", "qwen2", "qwen3"})
"""Architectures whose GGUF has the matrices of layers as Transformers has them."""
FORMAT = 1
"""Raise it when the same adapter is converted otherwise: earlier conversions are made again."""
PREFIX = "base_model.model."
KNOWN_STARTS = frozenset({"eva", "gaussian", "orthogonal"})
"""Values of init_lora_weights that leave the base model's weights as they are."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "alora_invocation_tokens": (None,), "alpha_pattern": (None, {}), "bias": (None, "none"),
    "fan_in_fan_out": (None, False), "layer_replication": (None,), "lora_bias": (None, False),
    "modules_to_save": (None, []), "rank_pattern": (None, {}), "target_parameters": (None, []),
    "trainable_token_indices": (None,), "use_bdlora": (None, False), "use_dora": (None, False),
    "use_qalora": (None, False),
}  # fmt: skip
"""Settings of PEFT that change what an adapter computes, with the values that do not."""


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """An adapter as PEFT writes it: its configuration, and the bytes of its weights with where each tensor is."""

    name: str
    config: bytes
    weights: bytes
    entries: Mapping[str, Entry]


def convert(adapter: PeftAdapter, base: Header, target: Path) -> None:
    """Write an adapter as GGUF. Raises `PreconditionFailed` that names what cannot be converted."""
    from gguf import GGUFWriter

    alpha, rank = _scaling(adapter)
    pairs = _pairs(adapter, base, rank)
    writer = GGUFWriter(target, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for tensor, (a, b) in pairs.items():
        writer.add_tensor(tensor + GGUF_A, _array(adapter, a))
        writer.add_tensor(tensor + GGUF_B, _reordered(_array(adapter, b), tensor, base))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _scaling(adapter: PeftAdapter) -> tuple[float, int]:
    """Return llama.cpp's alpha, which it divides by the rank and takes for "none" when it is 0; and the rank."""
    config: dict[str, Any] = json.loads(adapter.config)
    for key, allowed in NEUTRAL.items():
        if config.get(key) not in allowed:
            expected = f"{key} {json.dumps(allowed[-1])}, as llama.cpp has no other"
            raise refused(adapter.name, expected, f"{json.dumps(config[key]):.80}")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start not in KNOWN_STARTS:
        raise refused(
            adapter.name,
            "weights for the base model as it is",
            f"init_lora_weights {start!r}, which changes it; save the adapter converted to plain LoRA",
        )
    rank, alpha = config["r"], config.get("lora_alpha", 8)  # PEFT's own default
    if not isinstance(alpha, int | float) or not math.isfinite(alpha) or alpha == 0:
        raise refused(adapter.name, "a lora_alpha other than 0", repr(alpha))
    return (alpha * math.sqrt(rank) if config.get("use_rslora") else float(alpha)), rank


def _pairs(adapter: PeftAdapter, base: Header, rank: int) -> dict[str, tuple[Entry, Entry]]:
    """Return both halves of each module by GGUF's name of it, checked against the base model."""
    if base.architecture not in PERMUTED | PLAIN:
        raise refused(
            adapter.name,
            f"a base model of {', '.join(sorted(PERMUTED | PLAIN))} to convert it for",
            f"{base.architecture!r}; convert it with llama.cpp's convert_lora_to_gguf.py and register the GGUF file",
        )
    modules: dict[str, dict[str, Entry]] = {}
    for key, entry in adapter.entries.items():
        mark = next((mark for mark in (A_MARK, B_MARK) if key.endswith(f"{mark}weight")), None)
        if mark is None:
            raise refused(adapter.name, "tensors named *.lora_A.weight and *.lora_B.weight", key)
        modules.setdefault(key.removesuffix(f"{mark}weight").removeprefix(PREFIX), {})[mark] = entry
    names = _names(base)
    return dict(_pair(adapter.name, module, halves, base, names, rank) for module, halves in modules.items())


def _names(base: Header) -> Callable[[str], str | None]:
    """Return what tells GGUF's name of a module's weight, None for one that it does not know."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    architecture = next(each for each, name in MODEL_ARCH_NAMES.items() if name == base.architecture)
    known = get_tensor_name_map(architecture, base.layers)
    return lambda module: known.get_name(f"{module}.weight", try_suffixes=(".weight",))


def _pair(
    name: str,
    module: str,
    halves: Mapping[str, Entry],
    base: Header,
    names: Callable[[str], str | None],
    rank: int,
) -> tuple[str, tuple[Entry, Entry]]:
    tensor = names(module)
    shape = base.shapes.get(tensor or "")
    if tensor is None or shape is None or len(shape) != 2 or tensor == "token_embd.weight":
        raise refused(name, "target modules that this base model has in its layers or as its output", module)
    if len(halves) != 2:
        raise refused(name, f"both halves of {module}", "one")
    a, b = halves[A_MARK], halves[B_MARK]
    if a.shape != (rank, shape[1]) or b.shape != (shape[0], rank):
        expected = f"{module} with halves of shape {(rank, shape[1])} and {(shape[0], rank)}, for this base model"
        raise refused(name, expected, f"{a.shape} and {b.shape}")
    return tensor, (a, b)


def _array(adapter: PeftAdapter, entry: Entry) -> "np.ndarray[Any, Any]":
    """Return a tensor without a loss: bfloat16, which not every device of llama.cpp multiplies, as float32."""
    import numpy as np

    raw = memoryview(adapter.weights)[entry.begin : entry.end]
    if entry.dtype in ("F32", "F16"):
        return np.frombuffer(raw, np.dtype("<f4" if entry.dtype == "F32" else "<f2")).reshape(entry.shape)
    if entry.dtype != "BF16":
        raise refused(adapter.name, "tensors of F32, F16 or BF16", entry.dtype)
    high = np.frombuffer(raw, np.dtype("<u2")).astype(np.uint32)
    return (high << np.uint32(16)).view(np.float32).reshape(entry.shape)


def _reordered(b: "np.ndarray[Any, Any]", tensor: str, base: Header) -> "np.ndarray[Any, Any]":
    """Return the rows in the order of the base model's: pairs of a rotation side by side instead of in halves."""
    heads = {"attn_q": base.heads, "attn_k": base.kv_heads}.get(tensor.split(".")[-2])
    if base.architecture not in PERMUTED or heads is None:
        return b
    rows, rank = b.shape
    return b.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2).reshape(rows, rank)


def refused(name: str, expected: str, found: str) -> PreconditionFailed:
    """Return the error of an adapter that llama.cpp cannot serve."""
    return PreconditionFailed(
        f"adapter {name!r}: expected {expected}, found {found}", reason="ADAPTER_FORMAT", backend=NAME
    )
