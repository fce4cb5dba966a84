"""The header of a GGUF file: read before the engine sees it, so that a broken file is refused with a reason.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import hashlib
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bellhousing.errors import ConfigurationError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
MAX_COUNT = 1 << 24
"""No honest header has more entries, tensors or array items than this."""
CONTROL = 3
"""Token type of a control token such as `<|im_end|>`."""
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
"""`general.file_type` of llama.cpp."""
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 30: (1, 2),
}  # fmt: skip
"""Elements and bytes of a block of each tensor type."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says of itself; `needed_bytes` is the least size that holds every tensor."""

    metadata: dict[str, Any]
    needed_bytes: int
    tokens: list[str] = field(repr=False)

    @property
    def architecture(self) -> str:
        """Such as `llama`."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained for."""
        return int(self.metadata.get(f"{self.architecture}.context_length", 0))

    @property
    def precision(self) -> str:
        """Precision of most weights, such as `Q4_1`."""
        number = self.metadata.get("general.file_type", -1)
        return FILE_TYPES.get(number, f"file type {number}")

    @property
    def chat_template(self) -> str:
        """The chat template, empty without one."""
        return str(self.metadata.get("tokenizer.chat_template", ""))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The end tokens."""
        names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
        return tuple(dict.fromkeys(int(self.metadata[name]) for name in names if name in self.metadata))

    @property
    def tokenizer_digest(self) -> str:
        """Digest of vocabulary, merges and special tokens."""
        digest = hashlib.sha256()
        for key in sorted(key for key in self.metadata if key.startswith("tokenizer.ggml.")):
            digest.update(f"{key}={self.metadata[key]!r}\n".encode())
        return f"sha256:{digest.hexdigest()}"

    def pieces(self) -> list[bytes]:
        """Return the bytes of each token."""
        types = self.metadata.get("tokenizer.ggml.token_type", [])
        is_bpe = self.metadata.get("tokenizer.ggml.model") == "gpt2"
        controls = {number for number, kind in enumerate(types) if kind == CONTROL}
        decode = _bpe_bytes if is_bpe else _spm_bytes
        return [text.encode() if number in controls else decode(text) for number, text in enumerate(self.tokens)]


class _Reader:
    """Reads values one after the other; never beyond the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def scalar(self, form: str) -> Any:
        size = struct.calcsize(form)
        if self.position + size > len(self._data):
            raise ValueError("the header ends in mid-value")
        (value,) = struct.unpack_from(form, self._data, self.position)
        self.position += size
        return value

    def string(self) -> str:
        length = self.scalar("<Q")
        if length > len(self._data) - self.position:
            raise ValueError("the header ends in mid-string")
        start = self.position
        self.position += length
        return self._data[start : self.position].decode(errors="replace")

    def count(self) -> int:
        value = int(self.scalar("<Q"))
        if value > MAX_COUNT:
            raise ValueError(f"the header claims {value} entries")
        return value

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner = self.scalar("<I")
            return [self.value(inner) for _ in range(self.count())]
        if kind not in SCALARS:
            raise ValueError(f"the header has a value of unknown type {kind}")
        return self.scalar(SCALARS[kind])


def read_header(path: Path) -> Header:
    """Return the header of a file. Raises `ConfigurationError` naming the file, what was expected and found."""
    try:
        with path.open("rb") as file:
            return _checked(file)
    except (OSError, ValueError, MemoryError, RecursionError) as error:
        raise ConfigurationError(
            f"model {str(path)!r} is not a whole GGUF file: {error}", reason="BAD_MODEL"
        ) from error


def _checked(file: BinaryIO) -> Header:
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        raise ValueError(f"expected the letters GGUF at its start, found {magic!r}")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = _parse(_Reader(data))
        size = len(data)
    if size < header.needed_bytes:
        raise ValueError(f"expected at least {header.needed_bytes} bytes for its tensors, found {size}: it was cut")
    return header


def _parse(reader: _Reader) -> Header:
    reader.position = len(MAGIC)
    version = reader.scalar("<I")
    if version not in VERSIONS:
        raise ValueError(f"expected GGUF version 2 or 3, found {version}")
    tensors, entries = reader.count(), reader.count()
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key = reader.string()
        metadata[key] = reader.value(reader.scalar("<I"))
    ends = [_tensor_end(reader) for _ in range(tensors)]
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-reader.position // alignment) * alignment
    return Header(metadata, start + max(ends, default=0), metadata.get("tokenizer.ggml.tokens", []))


def _tensor_end(reader: _Reader) -> int:
    """Return where a tensor's data ends, counted from the start of the data; its start for a type not known here."""
    reader.string()
    elements = 1
    for _ in range(reader.scalar("<I")):
        elements *= reader.scalar("<Q")
    kind, offset = reader.scalar("<I"), int(reader.scalar("<Q"))
    per_block, size = BLOCKS.get(kind, (1, 0))
    return offset + elements // per_block * size


def _byte_alphabet() -> dict[str, int]:
    """Return GPT-2's alphabet: a printable character for each byte (Radford et al., 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [value for value in range(256) if value not in printable]
    return {chr(v): v for v in printable} | {chr(256 + place): value for place, value in enumerate(rest)}


_ALPHABET = _byte_alphabet()


def _bpe_bytes(text: str) -> bytes:
    if all(character in _ALPHABET for character in text):
        return bytes([_ALPHABET[character] for character in text])
    return text.encode()


def _spm_bytes(text: str) -> bytes:
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return bytes([int(text[3:5], 16)])
    return text.replace("\u2581", " ").encode()
