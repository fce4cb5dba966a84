"""Log probabilities of a prompt by Transformers, with a PEFT adapter; a script for an environment that has torch.

usage: reference_logprobs.py MODEL.gguf ADAPTER|- IDS OUT.npy

PEFT applies the adapter where it is installed. Elsewhere its definition does: W + scale * B A, in float32.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main(model_file: str, adapter: str, ids: str, out: str) -> None:
    """Write an array of one row for each token of the prompt: what comes next, over the vocabulary."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    file = Path(model_file)
    model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    if adapter != "-":
        model = _with_peft(model, adapter) if find_spec("peft") else _merged(model, Path(adapter))
    with torch.no_grad():
        logits = model.eval()(torch.tensor([json.loads(ids)])).logits[0].float()
    np.save(out, torch.log_softmax(logits, -1).numpy())


def _with_peft(model: Any, adapter: str) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter)


def _merged(model: Any, adapter: Path) -> Any:
    from safetensors.torch import load_file

    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, a in tensors.items():
        if ".lora_A." in name:
            module = model.get_submodule(name.split(".lora_A.")[0].removeprefix("base_model.model."))
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            module.weight.data += scale * (b.float() @ a.float())
    return model


if __name__ == "__main__":
    main(*sys.argv[1:])
