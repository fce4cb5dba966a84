"""Adapters made for the occasion: random weights, for the server that the suite itself starts."""

import json
from pathlib import Path
from typing import Any

RANK = 8
SPREAD = 0.3
"""Standard deviation of the weights: large, so that no output stays what it was."""

NAMES = ("first", "second")
DEFAULTS: dict[str, int] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
"""The shape for an engine that reads no weights."""


def write_adapters(folder: Path, model: Path | None) -> tuple[str, ...]:
    """Write two adapters of different weights that fit a model; return their sources.

    `model` is the directory with its `config.json`; None stands for an engine without weights. Nothing is written for a
    model in another form: its shapes are not known.
    """
    described = DEFAULTS
    if model is not None:
        config = model / "config.json"
        if not config.is_file():
            return ()
        described = json.loads(config.read_text(encoding="utf-8"))
    return tuple([_written(folder / name, described, seed).as_uri() for seed, name in enumerate(NAMES)])


def _written(path: Path, described: dict[str, Any], seed: int) -> Path:
    """Write a PEFT adapter of the query projection of each layer."""
    import numpy as np
    from safetensors.numpy import save_file

    hidden, heads = described["hidden_size"], described["num_attention_heads"]
    width = heads * (described.get("head_dim") or hidden // heads)
    draw = np.random.default_rng(seed)
    tensors = {}
    for layer in range(described["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = draw.normal(0, SPREAD, (RANK, hidden)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = draw.normal(0, SPREAD, (width, RANK)).astype(np.float32)
    path.mkdir(parents=True)
    save_file(tensors, path / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["q_proj"]}
    (path / "adapter_config.json").write_text(json.dumps(told))
    return path
