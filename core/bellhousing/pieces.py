"""The bytes that a token stands for, where a vocabulary writes them as characters."""

from collections.abc import Sequence

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6
"""Token types of GGUF whose text is not encoded like that of normal tokens."""


def byte_level(text: str) -> bytes:
    """Return the bytes of a token of a byte-level vocabulary; its UTF-8 where it is not written in that alphabet.

    Source of the alphabet: GPT-2 (Radford et al., 2019), a printable character for each byte.
    """
    try:
        return bytes([_ALPHABET[character] for character in text])
    except KeyError:
        return text.encode()


def _alphabet() -> dict[str, int]:
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [value for value in range(256) if value not in printable]
    return {chr(v): v for v in printable} | {chr(256 + place): value for place, value in enumerate(rest)}


_ALPHABET = _alphabet()


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
