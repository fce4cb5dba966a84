"""The bytes of each token, from the way a GGUF file writes them down."""

from collections.abc import Sequence

from bellhousing.pieces import byte_level

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6
"""Token types of GGUF whose text is not encoded like that of normal tokens."""


def decoded_pieces(model: str, tokens: Sequence[str], types: object) -> tuple[bytes, ...] | None:
    """Return the bytes of each token; None for a kind of tokenizer whose encoding is not known here."""
    decode = {"gpt2": _byte_level, "llama": _sentence_piece}.get(model)
    if decode is None:
        return None
    kinds = types if isinstance(types, list) and len(types) == len(tokens) else [0] * len(tokens)
    return tuple(
        text.encode() if kind in (UNKNOWN, CONTROL, USER_DEFINED) else decode(text, kind)
        for text, kind in zip(tokens, kinds, strict=True)
    )


def _byte_level(text: str, _kind: int) -> bytes:
    return byte_level(text)


def _sentence_piece(text: str, kind: int) -> bytes:
    if kind == BYTE and len(text) == 6:
        return bytes([int(text[3:5], 16)])
    return text.replace("\u2581", " ").encode()
