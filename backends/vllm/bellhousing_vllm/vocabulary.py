"""The bytes of each token, whichever way the tokenizer writes them."""

import json
from collections.abc import Iterable
from typing import Any

from bellhousing.pieces import byte_level

SPACE = "\u2581"


class Vocabulary:
    """The tokens of a Hugging Face tokenizer. `decoding` is `byte_level`, `byte_fallback` or `plain`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._decoding = _decoding_of(tokenizer)
        self._added = {int(i): str(token) for i, token in tokenizer.added_tokens_decoder.items()}
        self._pieces: dict[int, bytes] = {}

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; none for an id that the model has and the tokenizer does not."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._read(token)
        return known

    def decode(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of the ids; special tokens as they are written."""
        return b"".join(self.piece(i) for i in ids)

    def _read(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        text = self._tokenizer.convert_ids_to_tokens(token)
        if text is None:
            return b""
        if self._decoding == "byte_level":
            return byte_level(text)
        if self._decoding == "byte_fallback":
            return byte_fallback(str(text))
        return str(self._tokenizer.decode([token])).encode()


def byte_fallback(text: str) -> bytes:
    """Return the bytes of a token of a SentencePiece vocabulary: it writes a space as U+2581, a byte as <0xNN>."""
    is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
    return bytes([int(text[3:5], 16)]) if is_byte else text.replace(SPACE, " ").encode()


def _decoding_of(tokenizer: Any) -> str:
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None:
        return "plain"
    described = json.loads(inner.to_str())
    kinds = json.dumps(described.get("decoder"))
    if '"ByteLevel"' in kinds:
        return "byte_level"
    return "byte_fallback" if '"ByteFallback"' in kinds else "plain"
