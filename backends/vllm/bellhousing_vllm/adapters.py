"""What is read of a LoRA adapter before vLLM sees it: vLLM serves the base model for one that fits nothing."""

import json
import struct
from pathlib import Path
from typing import Any

from bellhousing.backend import AdapterFiles
from bellhousing.errors import PreconditionFailed
from bellhousing_vllm.model_files import ModelFiles

WEIGHTS = "adapter_model.safetensors"
MOST_HEADER_BYTES = 100 << 20
A_MARK, B_MARK = ".lora_A.", ".lora_B."


def check_adapter(adapter: AdapterFiles, model: ModelFiles, max_rank: int) -> None:
    """Refuse an adapter that is of another kind, rank or model. Raises `PreconditionFailed`."""
    directory = Path(adapter.path)
    config = _config(adapter.name, directory)
    rank = config.get("r")
    if config.get("peft_type") != "LORA":
        raise _refused(adapter.name, "peft_type LORA", str(config.get("peft_type")))
    if not isinstance(rank, int) or not 1 <= rank <= max_rank:
        raise _refused(adapter.name, f"a rank of 1 to {max_rank} (options.lora.max_rank)", str(rank))
    if config.get("use_dora"):
        raise _refused(adapter.name, "LoRA without DoRA", "use_dora true")
    tensors = read_header(adapter.name, directory / WEIGHTS)
    _check_tensors(adapter.name, tensors, read_shapes(adapter.name, model), rank)


def _check_tensors(
    name: str, tensors: dict[str, tuple[int, ...]], model: dict[str, tuple[int, ...]], rank: int
) -> None:
    halves = [key for key in tensors if A_MARK in key or B_MARK in key]
    if not halves:
        raise _refused(name, "tensors named *.lora_A.* and *.lora_B.*", f"{len(tensors)} others")
    fitting = 0
    for key in halves:
        mark = A_MARK if A_MARK in key else B_MARK
        module = key.split(mark)[0].removeprefix("base_model.model.")
        base = model.get(f"{module}.weight")
        if base is None or len(base) != 2:
            continue
        fitting += 1
        expected = (rank, base[1]) if mark == A_MARK else (base[0], rank)
        if tensors[key] != expected:
            raise _refused(name, f"{key} of shape {expected}, for this base model", f"{tensors[key]}")
    if not fitting:
        raise _refused(name, "target modules of this base model", halves[0])


def read_shapes(name: str, model: ModelFiles) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the base model's tensors."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in model.weights:
        shapes |= read_header(name, file)
    return shapes


def read_header(name: str, path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file's tensors, once its length fits. Raises `PreconditionFailed`.

    Source of the format: https://github.com/huggingface/safetensors#format
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= MOST_HEADER_BYTES:
                raise _refused(name, f"a safetensors header in {path.name}", f"a length of {length}")
            header = json.loads(file.read(length))
        size = path.stat().st_size - 8 - length
    except OSError as error:
        raise _refused(name, f"a file {path.name}", error.strerror or "none") from error
    except ValueError as error:
        raise _refused(name, f"a safetensors header in {path.name}", "no JSON") from error
    tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    end = max((value["data_offsets"][1] for value in tensors.values()), default=0)
    if end != size:
        raise _refused(name, f"{end} bytes of tensors in {path.name}", f"{size}: the file is cut or padded")
    return {key: tuple(value["shape"]) for key, value in tensors.items()}


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
