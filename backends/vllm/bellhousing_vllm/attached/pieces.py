"""The bytes of tokens that a server names by its tokenizer's own spelling."""

from typing import Any, Literal

from bellhousing.pieces import byte_level
from bellhousing_vllm.vocabulary import byte_fallback

Decoding = Literal["byte_level", "byte_fallback"]
SAMPLE = "Grüße, 世界 and\n  the rest"
"""It tells the spellings apart: a space, a line break, and characters of two and three bytes."""


def piece(text: str, decoding: Decoding) -> bytes:
    """Return the bytes of a token."""
    return byte_level(text) if decoding == "byte_level" else byte_fallback(text)


def decoding_of(sample: dict[str, Any]) -> Decoding | None:
    """Return the spelling in which the tokens of `SAMPLE` are its bytes again; None when neither does."""
    texts = sample.get("token_strs") or []
    for decoding in ("byte_level", "byte_fallback"):
        if b"".join(piece(text, decoding) for text in texts).strip(b" ") == SAMPLE.encode():
            return decoding
    return None
