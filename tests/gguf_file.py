"""Small GGUF files, written as https://github.com/ggml-org/ggml/blob/master/docs/gguf.md says."""

import struct
from collections.abc import Mapping, Sequence

UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
BYTES_OF_TYPE = {0: (1, 4), 2: (32, 18)}
ALIGNMENT = 32


def gguf(metadata: Mapping[str, object], tensors: Sequence[tuple[str, tuple[int, ...], int]] = ()) -> bytes:
    """Return a file with these entries and tensors (name, sizes, type); the tensors hold zeros."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _typed(value) for key, value in metadata.items())
    data = b""
    for name, sizes, kind in tensors:
        head += _string(name) + struct.pack("<I", len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        head += struct.pack("<IQ", kind, len(data))
        elements = 1
        for size in sizes:
            elements *= size
        block, size = BYTES_OF_TYPE[kind]
        data += bytes(elements // block * size)
        data += bytes(-len(data) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + data


def with_number(file: bytes, key: str, value: int) -> bytes:
    """Return a file with one more entry, an unsigned number; its other entries and its tensors stay as they are."""
    magic, version, tensors, entries = struct.unpack_from("<4sIQQ", file)
    entry = _string(key) + struct.pack("<II", UINT32, value)
    # Data begins at a multiple of the alignment: a second entry fills up what the first one adds.
    filler = _string("filler") + struct.pack("<I", STRING)
    filler += _string("." * (-(len(entry) + len(filler) + 8) % ALIGNMENT))
    return struct.pack("<4sIQQ", magic, version, tensors, entries + 2) + entry + filler + file[24:]


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _typed(value: object) -> bytes:
    kind, raw = _value(value)
    return struct.pack("<I", kind) + raw


def _value(value: object) -> tuple[int, bytes]:
    if isinstance(value, str):
        return STRING, _string(value)
    if isinstance(value, int):
        return INT32, struct.pack("<i", value)
    if isinstance(value, list):
        kinds_and_items = [_value(item) for item in value]
        kind = kinds_and_items[0][0]
        return ARRAY, struct.pack("<IQ", kind, len(value)) + b"".join(raw for _, raw in kinds_and_items)
    raise TypeError(f"expected a string, an integer or a list, found {value!r}")
