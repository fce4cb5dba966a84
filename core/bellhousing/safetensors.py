"""The header of a safetensors file. Source of the format: https://github.com/huggingface/safetensors#format."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

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


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What a header tells of a tensor. Without a type it is no tensor: `__metadata__`, or an entry that is damaged."""

    dtype: str = ""
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    data_offsets: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]] = (0, 0)

    def check(self, name: str) -> None:
        """Raise `ValueError` unless the bytes of tensor `name` are as many as one of its type and shape has."""
        begin, end = self.data_offsets
        needed = math.prod(self.shape) * BITS.get(self.dtype, 0) // 8
        if end < begin or (self.dtype in BITS and end - begin != needed):
            raise _damaged(f"{needed} bytes of tensor {name!r}", f"{end - begin}")


_HEADER = msgspec.json.Decoder(dict[str, _Told])
"""Each load of an adapter reads a header with hundreds of tensors, and somebody waits for it."""


def read_shapes(path: Path) -> Shapes:
    """Return the shapes of a file's tensors. Raises `ValueError` that tells expected and found when it is damaged."""
    return {name: told.shape for name, told in _read(path)[0].items()}


def read_entries(path: Path) -> dict[str, Entry]:
    """Return where each tensor of a file is. Raises `ValueError` that tells expected and found when it is damaged."""
    tensors, start = _read(path)
    return {
        name: Entry(told.dtype, told.shape, start + told.data_offsets[0], start + told.data_offsets[1])
        for name, told in tensors.items()
    }


def _read(path: Path) -> tuple[dict[str, _Told], int]:
    """Return what a file's header tells of each tensor, and where their bytes begin."""
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
    tensors = _tensors(raw, path.name)
    end = max((told.data_offsets[1] for told in tensors.values()), default=0)
    if end != size:
        raise _damaged(f"{end} bytes of tensors in {path.name}", f"{size}: the file is cut or padded")
    return tensors, LENGTH_BYTES + length


def _tensors(raw: bytes, file: str) -> dict[str, _Told]:
    try:
        tensors = _HEADER.decode(raw)
        tensors.pop("__metadata__", None)
        is_whole = all(told.dtype for told in tensors.values())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        is_whole = False
    if not is_whole:
        tensors = _told(raw, file)
    for name, told in tensors.items():
        told.check(name)
    return tensors


def _told(raw: bytes, file: str) -> dict[str, _Told]:
    """Return what a header tells, or raise what is wrong with it. Slower than msgspec, whose errors name no tensor."""
    try:
        header = json.loads(raw)
        return {name: _entry(name, told) for name, told in header.items() if name != "__metadata__"}
    except (AttributeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(f"a safetensors header in {file}", "no JSON object") from error


def _entry(name: str, told: Any) -> _Told:
    """Return what a header tells of a tensor, or raise what is wrong with it."""
    try:
        (begin, end), shape, dtype = told["data_offsets"], tuple(told["shape"]), told["dtype"]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(f"a type, a shape and two offsets of tensor {name!r}", f"{told!r:.80}") from error
    if not all(isinstance(each, int) and each >= 0 for each in (begin, end, *shape)):
        raise _damaged(f"numbers of at least 0 as shape and offsets of tensor {name!r}", f"{told!r:.80}")
    return _Told(str(dtype), shape, (begin, end))


def _damaged(expected: str, found: str) -> ValueError:
    return ValueError(f"expected {expected}, found {found}")
