"""What is tried once at the start: a token that shows when the engine has dropped a grammar."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from bellhousing_llamacpp.completion import constrained
from bellhousing_llamacpp.connection import Connection
from bellhousing_llamacpp.grammar import HEAD

NEVER_IN_TEXT = (0xFF, 0xFE, 0xC0, 0xC1, *range(0xF5, 0xFE))
"""Bytes that no UTF-8 text has."""
MOST_TRIES = 32
SMALLEST_GRAMMAR = f'{HEAD}start: "a"\n'


async def find_canary(connection: Connection, pieces: Sequence[bytes]) -> int | None:
    """Return a token that no grammar allows and that ends no text; None where the model has none.

    A byte that no text has is best. Else a token such as `<|im_start|>`: which of those end a text only the engine
    knows, so each is tried, and that a grammar keeps it away is tried as well.
    """
    for candidate in islice(_candidates(pieces), MOST_TRIES):
        free: dict[str, Any] = {
            "prompt": [candidate],
            "n_predict": 1,
            "temperature": 0.0,
            "return_tokens": True,
            "cache_prompt": False,
            "logit_bias": [[candidate, 1_000.0]],
        }
        found = await connection.ask("/completion", free)
        if found["tokens"] != [candidate] or found["stop_type"] != "limit":
            continue
        kept = await connection.ask("/completion", constrained(free, SMALLEST_GRAMMAR, candidate))
        if candidate not in kept["tokens"]:
            return candidate
    return None


def _candidates(pieces: Sequence[bytes]) -> Iterator[int]:
    for byte in NEVER_IN_TEXT:
        yield from (number for number, piece in enumerate(pieces) if piece == bytes([byte]))
    yield from (number for number, piece in enumerate(pieces) if piece.startswith(b"<|") and piece.endswith(b"|>"))
    yield from (number for number, piece in enumerate(pieces) if piece.startswith(b"<") and piece.endswith(b">"))
