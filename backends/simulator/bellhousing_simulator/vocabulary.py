"""The vocabulary: 64 visible symbols (ids 0 to 63), the end token (64) and one token for each byte (65 to 320).

Symbols 0 to 51 are whole characters or strings of them. Symbols 52 to 55 open a character that their token does not
complete and symbols 56 to 63 go on with one, so that a character may be split over two or three tokens. Any bytes can
be tokenised: what no symbol covers falls back to byte tokens.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.events import Delta
from bellhousing.requests import Chat

_WHOLE = (
    *"abcdefghijklmnopqrstuvwxyz",
    *" \n.,-?",
    *"0123456789",
    *(" the", "ing", "th", "er", " of", " and"),
    *("ß", "→", "🙂", "\u200d"),
)
_OPENING = (b"\xf0\x9f", b" \xf0\x9f", b"\xe4", b"\xc3")
_CONTINUING = (b"\x98", b"\x80", b"\x8e", b"\xb8", b"\x96", b"\xad", b"\xa9", b"\xbc")

SYMBOLS: tuple[bytes, ...] = (*(text.encode() for text in _WHOLE), *_OPENING, *_CONTINUING)
"""The bytes of ids 0 to 63."""

EOS = len(SYMBOLS)
"""Id of the end token; its bytes are empty. As the previous token it stands for the start of a text."""

FIRST_BYTE = EOS + 1
"""Id of the token of byte 0."""

PIECES: tuple[bytes, ...] = (*SYMBOLS, b"", *(bytes([value]) for value in range(256)))
"""The bytes of every token, by id."""

VOCABULARY_SIZE = len(PIECES)

WHOLE_COUNT = len(_WHOLE)
"""Symbols below this id are whole characters."""

STARTERS: tuple[int, ...] = tuple(range(WHOLE_COUNT + len(_OPENING)))
"""Symbols that may begin a character."""


def symbol(piece: str | bytes) -> int:
    """Return the id of the symbol with these bytes. Raises `KeyError` when there is none."""
    raw = piece.encode() if isinstance(piece, str) else piece
    if raw not in SYMBOLS:
        raise KeyError(f"no symbol has the bytes {raw!r}")
    return SYMBOLS.index(raw)


FOLLOWERS: Mapping[int, tuple[int, ...]] = {
    symbol(b"\xf0\x9f"): (symbol(b"\x98"),),
    symbol(b" \xf0\x9f"): (symbol(b"\x98"),),
    symbol(b"\x98"): (symbol(b"\x80"), symbol(b"\x8e")),  # 😀 or 😎
    symbol(b"\xe4"): (symbol(b"\xb8"),),
    symbol(b"\xb8"): (symbol(b"\x96"), symbol(b"\xad")),  # 世 or 中
    symbol(b"\xc3"): (symbol(b"\xa9"), symbol(b"\xbc")),  # é or ü
}
"""Symbols that end inside a character, and those that may follow."""

STATES: tuple[int, ...] = (*range(FIRST_BYTE), *(value % WHOLE_COUNT for value in range(256)))
"""The state of the chain after each token, by id: a symbol or EOS stands for itself, byte b for symbol b modulo 52."""

TOKENIZER_DIGEST = "sha256:" + hashlib.sha256(b"".join(bytes([len(p)]) + p for p in PIECES)).hexdigest()

_IDS = {bytes([value]): FIRST_BYTE + value for value in range(256)} | {piece: i for i, piece in enumerate(SYMBOLS)}
_TOKEN = re.compile(b"|".join([*map(re.escape, sorted(SYMBOLS, key=len, reverse=True)), b"."]), re.DOTALL)


def tokenise(text: str | bytes) -> tuple[int, ...]:
    """Return the ids of the text: at each place the longest symbol that fits, else the byte's own token."""
    raw = text.encode() if isinstance(text, str) else text
    return tuple([_IDS[piece] for piece in _TOKEN.findall(raw)])


def detokenise(ids: Iterable[int]) -> bytes:
    """Return the bytes of the ids; `detokenise(tokenise(text))` is the text's UTF-8. Raises `InvalidRequest`."""
    return b"".join([PIECES[i] for i in checked(ids)])


def checked(ids: Iterable[int]) -> tuple[int, ...]:
    """Return the ids as a tuple. Raises `InvalidRequest` for one that is not in the vocabulary."""
    known = tuple(ids)
    outside = next((i for i in known if not 0 <= i < VOCABULARY_SIZE), None)
    if outside is not None:
        raise InvalidRequest([Violation("token_ids", f"must be token ids below {VOCABULARY_SIZE}, found {outside}")])
    return known


def render(chat: Chat) -> str:
    """Return the chat as text: a line `role: content` each, or `role (name): content`, and `assistant:` at the end."""
    lines = [f"{m.role} ({m.name}): {m.content}\n" if m.name else f"{m.role}: {m.content}\n" for m in chat.messages]
    return "".join([*lines, "assistant:"] if chat.add_generation_prompt else lines)


@lru_cache(maxsize=128)
def deltas(index: int) -> tuple[Delta, ...]:
    """Return the delta of each token by id, for sequence `index`: they are frozen, so all requests share them."""
    return tuple([Delta(_text(piece), (i,), 1, (), index) for i, piece in enumerate(PIECES)])


def _text(piece: bytes) -> str | bytes:
    """Return the piece as text where it is whole characters; core joins the others."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece
