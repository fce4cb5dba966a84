"""The bytes of each token, from the way a GGUF file writes them down."""

from collections.abc import Sequence

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


def _byte_alphabet() -> dict[str, int]:
    """Return GPT-2's alphabet: a printable character for each byte (Radford et al., 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [value for value in range(256) if value not in printable]
    return {chr(v): v for v in printable} | {chr(256 + place): value for place, value in enumerate(rest)}


_ALPHABET = _byte_alphabet()


def _byte_level(text: str, _kind: int) -> bytes:
    try:
        return bytes([_ALPHABET[character] for character in text])
    except KeyError:
        return text.encode()


def _sentence_piece(text: str, kind: int) -> bytes:
    if kind == BYTE and len(text) == 6:
        return bytes([int(text[3:5], 16)])
    return text.replace("\u2581", " ").encode()
