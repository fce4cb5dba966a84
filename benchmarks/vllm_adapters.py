"""Writes adapters for attention: `python -m benchmarks.vllm_adapters MODEL DIRECTORY COUNT RANK`."""

import json
import sys
from pathlib import Path

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


def write(model: Path, directory: Path, seed: int, rank: int) -> None:
    """Write one adapter of random weights in PEFT's format."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    tensors = {}
    with safe_open(next(model.glob("*.safetensors")), framework="pt") as base:
        for name in base.keys():  # noqa: SIM118 - safetensors' own, no mapping
            module = name.removesuffix(".weight")
            if module.rpartition(".")[2] in TARGETS:
                rows, columns = base.get_slice(name).get_shape()
                tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(rank, columns) * 0.01
                tensors[f"base_model.model.{module}.lora_B.weight"] = torch.randn(rows, rank) * 0.01
    directory.mkdir()
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": list(TARGETS)}
    (directory / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    for index in range(1, int(sys.argv[3]) + 1):
        write(Path(sys.argv[1]), Path(sys.argv[2]) / str(index), index, int(sys.argv[4]))
