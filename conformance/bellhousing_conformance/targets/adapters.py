"""Adapters made for the occasion: random weights, for the server that the suite itself starts."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing.gguf import read_header

RANK = 8
SPREAD = 0.3
"""Standard deviation of the weights: large, so that no output stays what it was."""

NAMES = ("first", "second")
DEFAULT = [(8, 8)]
"""The shapes for an engine that reads no weights."""
_QUERY = re.compile(r"blk\.\d+\.attn_q\.weight")


def write_adapters(folder: Path, model: Path | None) -> tuple[str, ...]:
    """Write two adapters of different weights that fit a model; return their sources.

    `model` is a directory with its `config.json`, or a GGUF file; None stands for an engine without weights. Nothing is
    written for a model in another form: its shapes are not known.
    """
    shapes = DEFAULT if model is None else _query_shapes(model)
    return tuple([_written(folder / name, shapes, seed).as_uri() for seed, name in enumerate(NAMES)]) if shapes else ()


def _query_shapes(model: Path) -> list[tuple[int, int]]:
    """Return the shape of each layer's query projection, rows first."""
    if model.is_file():
        return _shapes_of_gguf(model)
    config = model / "config.json"
    if not config.is_file():
        return []
    told = json.loads(config.read_text(encoding="utf-8"))
    hidden, heads = told["hidden_size"], told["num_attention_heads"]
    return [(heads * (told.get("head_dim") or hidden // heads), hidden)] * told["num_hidden_layers"]


def _shapes_of_gguf(file: Path) -> list[tuple[int, int]]:
    try:
        found = read_header(file).shapes
    except ConfigurationError:  # the server will say what is wrong with it
        return []
    layers = sum(bool(_QUERY.fullmatch(name)) for name in found)
    return [(rows, columns) for layer in range(layers) for rows, columns in [found[f"blk.{layer}.attn_q.weight"]]]


def _written(path: Path, shapes: Sequence[tuple[int, int]], seed: int) -> Path:
    """Write a PEFT adapter of the query projection of each layer."""
    import numpy as np
    from safetensors.numpy import save_file

    draw = np.random.default_rng(seed)
    tensors = {}
    for layer, (width, hidden) in enumerate(shapes):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = draw.normal(0, SPREAD, (RANK, hidden)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = draw.normal(0, SPREAD, (width, RANK)).astype(np.float32)
    path.mkdir(parents=True)
    save_file(tensors, path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["q_proj"]}
    (path / "adapter_config.json").write_text(json.dumps(told))
    return path
