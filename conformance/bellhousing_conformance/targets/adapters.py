"""Adapters made for the occasion: random weights, for the server that the suite itself starts."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing.gguf import model_files, read_header, read_part_shapes

RANK = 8
SPREAD = 0.1
"""Standard deviation of the weights: large, so that no output stays what it was."""

NAMES = ("first", "second")
MODULE = "model.layers.{}.self_attn.o_proj"
"""What leaves a layer's attention. Other queries or keys would be chaos: attention that jumps from token to token, and
turns the rounding of a batch into half a nat where weights have four bits."""
UNREAD = {MODULE.format(0): (8, 8)}
"""The shape for an engine that reads no weights."""
_GGUF_MODULE = re.compile(r"blk\.(\d+)\.attn_output\.weight")

Shape = tuple[int, int]


def write_adapters(folder: Path, model: Path | None) -> tuple[str, ...]:
    """Write two adapters of different weights that fit a model; return their sources.

    `model` is a GGUF file or a directory with one or with `config.json`; None stands for an engine without weights.
    Nothing is written for a model in another form: its shapes are not known.
    """
    shapes = UNREAD if model is None else _modules(model)
    if not shapes:
        return ()
    return tuple([_written(folder / name, shapes, seed).as_uri() for seed, name in enumerate(NAMES)])


def _modules(model: Path) -> dict[str, Shape]:
    """Return the module of each layer, by PEFT's name of it, with its rows and columns."""
    config = model / "config.json"
    if config.is_file():
        told = json.loads(config.read_text(encoding="utf-8"))
        hidden, heads = told["hidden_size"], told["num_attention_heads"]
        width = heads * (told.get("head_dim") or hidden // heads)
        return {MODULE.format(layer): (hidden, width) for layer in range(told["num_hidden_layers"])}
    if model.suffix != ".gguf" and not (model.is_dir() and any(model.glob("*.gguf"))):
        return {}
    try:
        first, *others = model_files(model)
        shapes = dict(read_header(first).shapes)
        for part in others:
            shapes |= read_part_shapes(part)
    except ConfigurationError:  # the server will say what is wrong with it
        return {}
    found = {match[1]: shape for name, shape in shapes.items() if (match := _GGUF_MODULE.fullmatch(name))}
    return {MODULE.format(layer): (rows, columns) for layer, (rows, columns) in found.items()}


def _written(path: Path, shapes: Mapping[str, Shape], seed: int) -> Path:
    """Write a PEFT adapter of these modules."""
    import numpy as np
    from safetensors.numpy import save_file

    draw = np.random.default_rng(seed)
    tensors = {}
    for module, (rows, columns) in shapes.items():
        name = f"base_model.model.{module}"
        tensors[f"{name}.lora_A.weight"] = draw.normal(0, SPREAD, (RANK, columns)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = draw.normal(0, SPREAD, (rows, RANK)).astype(np.float32)
    path.mkdir(parents=True)
    save_file(tensors, path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["o_proj"]}
    (path / "adapter_config.json").write_text(json.dumps(told))
    return path
