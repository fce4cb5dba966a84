"""The header of a safetensors file. Source of the format: https://github.com/huggingface/safetensors#format."""

import json
import struct
from pathlib import Path

MOST_HEADER_BYTES = 100 << 20

Shapes = dict[str, tuple[int, ...]]
"""The shape of each tensor, by name."""


def read_shapes(path: Path) -> Shapes:
    """Return the shapes of a file's tensors. Raises `ValueError` that tells expected and found when it is damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= MOST_HEADER_BYTES:
                raise _damaged(f"a safetensors header in {path.name}", f"a length of {length}")
            raw = file.read(length)
        size = path.stat().st_size - 8 - length
    except OSError as error:
        raise _damaged(f"a file {path.name}", error.strerror or "none") from error
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise _damaged(f"a safetensors header in {path.name}", "no JSON") from error
    tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    end = max((value["data_offsets"][1] for value in tensors.values()), default=0)
    if end != size:
        raise _damaged(f"{end} bytes of tensors in {path.name}", f"{size}: the file is cut or padded")
    return {key: tuple(value["shape"]) for key, value in tensors.items()}


def _damaged(expected: str, found: str) -> ValueError:
    return ValueError(f"expected {expected}, found {found}")
