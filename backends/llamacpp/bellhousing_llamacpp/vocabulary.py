"""The bytes of each token, and the ids of a character's tokens that the engine leaves out of its stream."""

from collections.abc import Iterator, Sequence
from itertools import islice


class Vocabulary:
    """The pieces of a model, by id."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self._ids: dict[bytes, list[int]] = {}
        for number, piece in enumerate(pieces):
            self._ids.setdefault(piece, []).append(number)

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids."""
        return b"".join([self.pieces[number] for number in ids])

    def ids_of(self, piece: bytes) -> Sequence[int]:
        """Return the ids whose bytes are exactly these."""
        return self._ids.get(piece, ())

    def recover(self, text: bytes, last: int, count: int) -> tuple[int, ...]:
        """Return the `count` ids, the last of them known, that make up `text`; none unless they are certain.

        llama.cpp streams only the last token of a character that several tokens make up. The text, the number of
        tokens and the last one nearly always leave a single way to split it: each hidden token must have left the text
        inside a character, or else it would have been sent.
        """
        piece = self.pieces[last]
        if not text.endswith(piece) or count < 2:
            return ()
        ways = list(islice(self._splits(text, 0, len(text) - len(piece), count - 1), 2))
        return (*ways[0], last) if len(ways) == 1 else ()

    def _splits(self, text: bytes, start: int, end: int, count: int) -> Iterator[tuple[int, ...]]:
        if count == 0:
            if start == end:
                yield ()
            return
        for stop in range(start + 1, end - count + 2):
            if not is_cut(text[:stop]):
                continue
            for first in self.ids_of(text[start:stop]):
                for rest in self._splits(text, stop, end, count - 1):
                    yield (first, *rest)


def is_cut(text: bytes) -> bool:
    """Tell whether text ends inside a character, as llama.cpp sees it when it decides to hold a token back."""
    for back, byte in enumerate(reversed(text[-4:]), start=1):
        length = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 0
        if length > back:
            return True
    return False
