"""What is read of a LoRA adapter before an engine sees it: some serve the base model for one that fits nothing."""

import json
from pathlib import Path
from typing import Any

from bellhousing.backend import AdapterFiles
from bellhousing.errors import PreconditionFailed
from bellhousing.safetensors import Shapes, read_shapes

WEIGHTS = "adapter_model.safetensors"
A_MARK, B_MARK = ".lora_A.", ".lora_B."


def check_adapter(adapter: AdapterFiles, base: Shapes, max_rank: int) -> None:
    """Refuse an adapter that is of another kind, rank or model; `base` has the model's tensors.

    Raises `PreconditionFailed`.
    """
    rank, tensors = check_files(adapter)
    if rank > max_rank:
        raise _refused(adapter.name, f"a rank of 1 to {max_rank} (options.lora.max_rank)", str(rank))
    _check_tensors(adapter.name, tensors, base, rank)


def check_files(adapter: AdapterFiles) -> tuple[int, Shapes]:
    """Return the rank and the tensors of a LoRA adapter; what model it is for is not looked at.

    Raises `PreconditionFailed` for another kind of adapter and for files that are damaged.
    """
    directory = Path(adapter.path)
    config = _config(adapter.name, directory)
    rank = config.get("r")
    if config.get("peft_type") != "LORA":
        raise _refused(adapter.name, "peft_type LORA", str(config.get("peft_type")))
    if not isinstance(rank, int) or rank < 1:
        raise _refused(adapter.name, "a rank of at least 1", str(rank))
    if config.get("use_dora"):
        raise _refused(adapter.name, "LoRA without DoRA", "use_dora true")
    try:
        return rank, read_shapes(directory / WEIGHTS)
    except ValueError as error:
        raise PreconditionFailed(f"adapter {adapter.name!r}: {error}", reason="ADAPTER_FORMAT") from error


def _check_tensors(name: str, tensors: Shapes, base: Shapes, rank: int) -> None:
    halves = [key for key in tensors if A_MARK in key or B_MARK in key]
    if not halves:
        raise _refused(name, "tensors named *.lora_A.* and *.lora_B.*", f"{len(tensors)} others")
    fitting = 0
    for key in halves:
        mark = A_MARK if A_MARK in key else B_MARK
        module = key.split(mark)[0].removeprefix("base_model.model.")
        shape = base.get(f"{module}.weight")
        if shape is None or len(shape) != 2:
            continue
        fitting += 1
        expected = (rank, shape[1]) if mark == A_MARK else (shape[0], rank)
        if tensors[key] != expected:
            raise _refused(name, f"{key} of shape {expected}, for this base model", f"{tensors[key]}")
    if not fitting:
        raise _refused(name, "target modules of this base model", halves[0])


def _config(name: str, directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(name, "a directory with adapter_config.json", f"{type(error).__name__}") from error
    if not isinstance(found, dict):
        raise _refused(name, "an object in adapter_config.json", type(found).__name__)
    return found


def _refused(name: str, expected: str, found: str) -> PreconditionFailed:
    return PreconditionFailed(f"adapter {name!r}: expected {expected}, found {found}", reason="ADAPTER_FORMAT")
