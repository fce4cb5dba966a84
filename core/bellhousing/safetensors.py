"""The header of a safetensors file. Source of the format: https://github.com/huggingface/safetensors#format."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_HEADER_BYTES = 100 << 20
LENGTH_BYTES = 8
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits of an element of each type; a type that is not among them is not measured."""

Shapes = dict[str, tuple[int, ...]]
"""The shape of each tensor, by name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a file: its type as safetensors names it, its shape, and where its bytes begin and end."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_shapes(path: Path) -> Shapes:
    """Return the shapes of a file's tensors. Raises `ValueError` that tells expected and found when it is damaged."""
    return {name: entry.shape for name, entry in read_entries(path).items()}


def read_entries(path: Path) -> dict[str, Entry]:
    """Return where each tensor of a file is. Raises `ValueError` that tells expected and found when it is damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(LENGTH_BYTES)
            length = struct.unpack("<Q", head)[0] if len(head) == LENGTH_BYTES else 0
            if not 2 <= length <= MOST_HEADER_BYTES:
                raise _damaged(f"a safetensors header in {path.name}", f"a length of {length}")
            raw = file.read(length)
        size = path.stat().st_size - LENGTH_BYTES - length
    except OSError as error:
        raise _damaged(f"a file {path.name}", error.strerror or "none") from error
    try:
        header = json.loads(raw)
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(f"a safetensors header in {path.name}", "no JSON object") from error
    entries = {name: _entry(name, told, LENGTH_BYTES + length) for name, told in tensors.items()}
    end = max((entry.end for entry in entries.values()), default=LENGTH_BYTES + length) - LENGTH_BYTES - length
    if end != size:
        raise _damaged(f"{end} bytes of tensors in {path.name}", f"{size}: the file is cut or padded")
    return entries


def _entry(name: str, told: Any, start: int) -> Entry:
    """Return what a header tells of a tensor, with offsets into the file."""
    try:
        (begin, end), shape, dtype = told["data_offsets"], tuple(told["shape"]), told["dtype"]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(f"a type, a shape and two offsets of tensor {name!r}", f"{told!r:.80}") from error
    if not all(isinstance(each, int) and each >= 0 for each in (begin, end, *shape)):
        raise _damaged(f"numbers of at least 0 as shape and offsets of tensor {name!r}", f"{told!r:.80}")
    bytes_needed = math.prod(shape) * BITS.get(dtype, 0) // 8
    if end < begin or (dtype in BITS and end - begin != bytes_needed):
        raise _damaged(f"{bytes_needed} bytes of tensor {name!r}", f"{end - begin}")
    return Entry(str(dtype), shape, start + begin, start + end)


def _damaged(expected: str, found: str) -> ValueError:
    return ValueError(f"expected {expected}, found {found}")
