"""Reads adapters for a worker of vLLM in one piece, where vLLM reads and converts each tensor on its own.

A worker that loads an adapter computes no step, so every request waits for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bellhousing.lora import WEIGHTS
from bellhousing.safetensors import Entry, read_entries

TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""What is read in one piece: safetensors' name of the type, and PyTorch's."""


class WholeFiles:
    """Stands for the class that vLLM makes adapters with, `LoRAModel`.

    Of adapters with the same names of tensors vLLM itself reads the first, and checks the names. So none gets here that
    vLLM would not have taken.
    """

    def __init__(self, model_class: Any) -> None:
        self._model_class = model_class
        self._taken = set[object]()

    def from_local_checkpoint(
        self, lora_dir: str, expected_lora_modules: set[str], peft_helper: Any, *, moe_ep_spec: Any = None, **how: Any
    ) -> Any:
        """Make an adapter from its files. Raises what vLLM raises."""
        path = Path(lora_dir, WEIGHTS)
        entries = None if moe_ep_spec is not None else _alike(path)
        names = frozenset(entries or ()), frozenset(expected_lora_modules), frozenset(peft_helper.modules_to_save or ())
        if entries and names in self._taken:
            tensors = _read(path, entries, how.get("dtype"))
            return self._model_class.from_lora_tensors(tensors=tensors, peft_helper=peft_helper, **how)
        made = self._model_class.from_local_checkpoint(
            lora_dir, expected_lora_modules, peft_helper=peft_helper, moe_ep_spec=moe_ep_spec, **how
        )
        self._taken.add(names)
        return made


def _alike(path: Path) -> dict[str, Entry] | None:
    """Return where the tensors of a file are; None unless all are of one type that is read in one piece."""
    try:
        entries = read_entries(path)
    except ValueError:  # vLLM reads other forms as well, or says what is wrong
        return None
    kinds = {entry.dtype for entry in entries.values()}
    return entries if len(kinds) == 1 and kinds <= TYPES.keys() else None


def _read(path: Path, entries: Mapping[str, Entry], dtype: Any) -> dict[str, Any]:
    """Return tensors of one type as views of one tensor of type `dtype`, or of the file's where it is None."""
    import torch

    first = min(entries.values(), key=lambda entry: entry.begin)
    kind = getattr(torch, TYPES[first.dtype])
    data = bytearray(path.stat().st_size - first.begin)
    with path.open("rb") as file:
        file.seek(first.begin)
        file.readinto(data)
    whole = torch.frombuffer(data, dtype=kind).to(dtype or kind)

    def part(entry: Entry) -> Any:
        begin, end = ((place - first.begin) // kind.itemsize for place in (entry.begin, entry.end))
        return whole[begin:end].view(entry.shape)

    return {name: part(entry) for name, entry in entries.items()}
