"""The header of a GGUF file: read before the engine sees it, so that a broken file is refused with a reason.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import hashlib
import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bellhousing.errors import ConfigurationError
from bellhousing.pieces import decoded_pieces

MAGIC = b"GGUF"
VERSIONS = (2, 3)
FLOAT32, STRING, ARRAY = 6, 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
MAX_COUNT = 1 << 24
"""No honest header has more entries, tensors or array items than this."""
MAX_DIMENSIONS = 8
ALPHA = "adapter.lora.alpha"
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""Names of `general.file_type`."""
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Elements and bytes of a block of each tensor type."""
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says of itself. `context_length` is what the model was trained for, 0 where it is not told."""

    architecture: str
    context_length: int
    precision: str
    chat_template: str
    eos_token_ids: tuple[int, ...]
    tokenizer_digest: str
    pieces: tuple[bytes, ...] | None = field(repr=False)
    """The bytes of each token; None where they cannot be told from the file alone."""
    vocabulary_size: int
    parts: int
    needed_bytes: int
    """Least size of a file that holds every tensor of this part."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    """The shape of each tensor of this part, rows first, by GGUF's name of it."""
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    """Layers, and attention heads of queries and of keys; 0 where it is not told, or differs between layers."""


@dataclass(frozen=True, slots=True)
class AdapterHeader:
    """What a file with a LoRA adapter says of itself; `shapes` as in `Header`, `types` are GGUF's numbers of them.

    `is_activated` tells of one that works only after words of its own in the prompt (aLoRA).
    """

    architecture: str
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    types: Mapping[str, int] = field(default_factory=dict, repr=False)
    is_activated: bool = False


def model_files(path: Path | None) -> tuple[Path, ...]:
    """Return the file to load, and the other parts of a model that is split into several.

    Raises `ConfigurationError` unless `path` is a file or a directory with exactly one model.
    """
    if path is None:
        raise ConfigurationError("model: expected a GGUF file, found none", reason="NO_MODEL")
    first = path if path.is_file() else _only_model(path)
    match = _PART.search(first.name)
    if match is None:
        return (first,)
    names = [f"{first.name[: match.start()]}-{i:05}-of-{match[2]}.gguf" for i in range(1, int(match[2]) + 1)]
    missing = [name for name in names if not (first.parent / name).is_file()]
    if missing:
        raise ConfigurationError(
            f"model {str(first)!r}: expected all {len(names)} parts of it in one directory, found none of the name"
            f" {missing[0]!r}",
            reason="NO_MODEL",
        )
    return tuple(first.parent / name for name in names)


def _only_model(directory: Path) -> Path:
    if not directory.is_dir():
        raise ConfigurationError(
            f"model {str(directory)!r}: expected a GGUF file or a directory with one, found nothing there",
            reason="NO_MODEL",
        )
    parts = [(file, _PART.search(file.name)) for file in sorted(directory.glob("*.gguf"))]
    models = [file for file, part in parts if part is None or part[1] == "00001"]
    if len(models) != 1:
        names = ", ".join(file.name for file in models) or "none"
        raise ConfigurationError(
            f"model {str(directory)!r}: expected a directory with exactly one GGUF model, found {names}",
            reason="NO_MODEL",
        )
    return models[0]


def read_header(path: Path) -> Header:
    """Return the header of a file. Raises `ConfigurationError` naming the file, what was expected and found."""
    try:
        with path.open("rb") as file:
            return _checked(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"model {str(path)!r} is not a whole GGUF model: {error}", reason="BAD_MODEL"
        ) from error


def read_part_shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of a later part of a model, as `Header.shapes` has them. Raises as `read_header` does."""
    try:
        with path.open("rb") as file:
            return _content(file).shapes
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model {str(path)!r} is no whole part: {error}", reason="BAD_MODEL") from error


def read_adapter_header(path: Path) -> AdapterHeader:
    """Return the header of a file with an adapter. Raises `ValueError` that tells expected and found."""
    try:
        with path.open("rb") as file:
            content = _content(file)
    except OSError as error:
        raise ValueError(f"expected a readable file, found {error.strerror}") from error
    kind = f"{content.values.get('general.type')} {content.values.get('adapter.type')}"
    if kind != "adapter lora":
        raise ValueError(f"expected general.type adapter and adapter.type lora, found {kind}")
    if content.kinds.get(ALPHA, FLOAT32) != FLOAT32:  # llama.cpp ends its process
        raise ValueError(f"expected {ALPHA} as a value of type {FLOAT32} (float32), found type {content.kinds[ALPHA]}")
    return AdapterHeader(
        str(content.values.get("general.architecture", "")),
        content.shapes,
        content.types,
        is_activated="adapter.alora.invocation_tokens" in content.values,
    )


@dataclass(frozen=True, slots=True)
class _Content:
    """Everything before the tensors' data."""

    values: dict[str, Any]
    kinds: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, int]
    needed_bytes: int


def _checked(file: BinaryIO) -> Header:
    content = _content(file)
    return _header(content.values, content.needed_bytes, content.shapes)


def _content(file: BinaryIO) -> _Content:
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        raise ValueError(f"expected the letters GGUF at its start, found {magic!r}")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        content, size = _parse(_Reader(data)), len(data)
    if size < content.needed_bytes:
        raise ValueError(f"expected at least {content.needed_bytes} bytes, found {size}: it was cut off")
    return content


class _Reader:
    """Reads values one after the other; never beyond the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def scalars(self, form: str, count: int = 1) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{count}{form}")
        if self.position + layout.size > len(self._data):
            raise ValueError("its header ends in mid-value: it was cut off")
        values = layout.unpack_from(self._data, self.position)
        self.position += layout.size
        return values

    def integer(self, form: str) -> int:
        return int(self.scalars(form)[0])

    def string(self) -> str:
        length = self.integer("Q")
        if length > len(self._data) - self.position:
            raise ValueError("its header ends in mid-string: it was cut off")
        start = self.position
        self.position += length
        return self._data[start : self.position].decode(errors="replace")

    def count(self) -> int:
        value = self.integer("Q")
        if value > MAX_COUNT:
            raise ValueError(f"expected at most {MAX_COUNT} entries in a list of its header, found {value}")
        return value

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.scalars(_form(kind))[0]
        inner, count = self.integer("I"), self.count()
        if inner == STRING:
            return [self.string() for _ in range(count)]
        return list(self.scalars(_form(inner), count))


def _form(kind: int) -> str:
    if kind not in SCALARS:
        raise ValueError(f"expected values of the types 0 to 12 in its header, found type {kind}")
    return SCALARS[kind]


def _parse(reader: _Reader) -> _Content:
    reader.position = len(MAGIC)
    version = reader.integer("I")
    if version not in VERSIONS:
        raise ValueError(f"expected GGUF version 2 or 3, found {version}")
    tensors, entries = reader.count(), reader.count()
    found: dict[str, Any] = {}
    kinds: dict[str, int] = {}
    for _ in range(entries):
        key = reader.string()
        kinds[key] = reader.integer("I")
        found[key] = reader.value(kinds[key])
    listed = [_tensor(reader) for _ in range(tensors)]
    end = max((tensor.end for tensor in listed), default=0)
    alignment = _integer(found, "general.alignment", 32)
    if alignment < 1:
        raise ValueError(f"expected general.alignment of at least 1, found {alignment}")
    start = -(-reader.position // alignment) * alignment
    shapes, types = {each.name: each.shape for each in listed}, {each.name: each.kind for each in listed}
    return _Content(found, kinds, shapes, types, start + end)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What is told of a tensor. `end` is where its data ends, or starts for a type that is not known here."""

    name: str
    shape: tuple[int, ...]
    kind: int
    end: int


def _tensor(reader: _Reader) -> _Tensor:
    """Return what is told of the next tensor. Its end is counted from the start of the data."""
    name = reader.string()
    dimensions = reader.integer("I")
    if dimensions > MAX_DIMENSIONS:
        raise ValueError(f"expected tensors of at most {MAX_DIMENSIONS} dimensions, found {dimensions}")
    sizes = reader.scalars("Q", dimensions)
    kind, offset = reader.integer("I"), reader.integer("Q")
    per_block, size = BLOCKS.get(kind, (1, 0))
    return _Tensor(name, tuple(reversed(sizes)), kind, offset + math.prod(sizes) // per_block * size)


def _header(found: dict[str, Any], needed_bytes: int, shapes: dict[str, tuple[int, ...]]) -> Header:
    content = found.get("general.type", "model")
    if content != "model":
        raise ValueError(f"expected a file with a model, found one with general.type {content!r}")
    architecture = str(found.get("general.architecture", ""))
    tokens = found.get("tokenizer.ggml.tokens", [])
    if not architecture or not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("expected general.architecture and the tokens of a vocabulary in its header")
    file_type = found.get("general.file_type", "unknown")
    names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return Header(
        architecture=architecture,
        context_length=_integer(found, f"{architecture}.context_length", 0),
        precision=FILE_TYPES.get(file_type, f"file type {file_type}"),
        chat_template=str(found.get("tokenizer.chat_template", "")),
        eos_token_ids=tuple(dict.fromkeys(_integer(found, name, 0) for name in names if name in found)),
        tokenizer_digest=_tokenizer_digest(found),
        pieces=decoded_pieces(str(found.get("tokenizer.ggml.model")), tokens, found.get("tokenizer.ggml.token_type")),
        vocabulary_size=len(tokens),
        parts=max(1, _integer(found, "split.count", 1)),
        needed_bytes=needed_bytes,
        shapes=shapes,
        layers=_one(found, f"{architecture}.block_count"),
        heads=(heads := _one(found, f"{architecture}.attention.head_count")),
        kv_heads=_one(found, f"{architecture}.attention.head_count_kv") or heads,
    )


def _one(found: dict[str, Any], key: str) -> int:
    """Return a number that all layers share, 0 where there is none."""
    value = found.get(key, 0)
    return value if isinstance(value, int) else 0


def _integer(found: dict[str, Any], key: str, default: int) -> int:
    value = found.get(key, default)
    if not isinstance(value, int):
        raise ValueError(f"expected an integer as {key}, found {value!r}")  # noqa: TRY004 - a fault of the file
    return value


def _tokenizer_digest(found: dict[str, Any]) -> str:
    """Return the digest of vocabulary, merges and special tokens; the chat template is none of them."""
    digest = hashlib.sha256()
    for key in sorted(key for key in found if key.startswith("tokenizer.ggml.")):
        digest.update(f"{key}={found[key]!r}\n".encode())
    return f"sha256:{digest.hexdigest()}"
