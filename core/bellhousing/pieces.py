"""The bytes that a token stands for, where a vocabulary writes them as characters."""


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
