"""The bytes of each token, and the ids of a character's tokens that the engine leaves out of its stream."""

from collections.abc import Iterator, Sequence


class Vocabulary:
    """The pieces of a model, by id."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self._ids: dict[bytes, int] = {}
        for number, piece in enumerate(pieces):
            self._ids.setdefault(piece, number)

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids."""
        return b"".join([self.pieces[number] for number in ids])

    def recover(self, text: bytes, last: int, count: int) -> tuple[int, ...] | None:
        """Return the `count` ids, the last of them known, that make up `text`; None when there are none.

        llama.cpp streams only the last token of a character that several tokens make up. The bytes before that token
        and the number of tokens nearly always leave one way to split them; of several, the one with the longest first
        pieces is taken, as a tokenizer would.
        """
        if count == 1:
            return (last,)
        piece = self.pieces[last]
        if not text.endswith(piece):
            return None
        before = next(self._splits(text[: len(text) - len(piece)], count - 1), None)
        return None if before is None else (*before, last)

    def _splits(self, data: bytes, count: int) -> Iterator[tuple[int, ...]]:
        if count == 1:
            if data in self._ids:
                yield (self._ids[data],)
            return
        for length in range(len(data) - count + 1, 0, -1):
            first = self._ids.get(data[:length])
            if first is not None:
                for rest in self._splits(data[length:], count - 1):
                    yield (first, *rest)
