"""Structured output `choice`: each draw is limited to tokens that lead to one of the options."""

from collections.abc import Sequence

from bellhousing_simulator.vocabulary import EOS, tokenise


class Choice:
    """The options that a sequence's output may still become."""

    def __init__(self, options: Sequence[str]) -> None:
        self._open = {tokenise(option) for option in options}
        self._length = 0

    def allowed(self) -> frozenset[int]:
        """Return the tokens that may come next; only the end token when the output is an option and no other fits."""
        place = self._length
        return frozenset(option[place] if len(option) > place else EOS for option in self._open)

    def take(self, token: int) -> None:
        """Note that the token was drawn."""
        place = self._length
        self._open = {option for option in self._open if len(option) > place and option[place] == token}
        self._length += 1
