"""Splitting the words of a command into flags with their values."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Shape = Literal["switch", "one", "many", "optional"]
"""How many words follow a flag: none, one, all up to the next flag, or at most one."""
_NUMBER = re.compile(r"-\d+(\.\d+)?$")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag and its values; a word that belongs to no flag has an empty name."""

    name: str
    values: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The values as one text."""
        return " ".join(self.values)


def split(words: Sequence[str], shape_of: Callable[[str], Shape | None]) -> Iterator[Flag]:
    """Yield the flags in order. Of an unknown flag (shape None) the next word is the value, unless it is a flag too."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not _is_flag(word):
            yield Flag("", (word,))
            continue
        name, separator, value = word.partition("=")
        if separator:
            yield Flag(name, (value,))
            continue
        most = _most(shape_of(name), rest)
        taken, rest = rest[:most], rest[most:]
        yield Flag(name, tuple(taken))


def _most(shape: Shape | None, rest: Sequence[str]) -> int:
    """Return how many of the words that follow belong to a flag."""
    if shape == "switch" or not rest:
        return 0
    if shape == "one":
        return 1
    following = next((place for place, word in enumerate(rest) if _is_flag(word)), len(rest))
    return following if shape == "many" else min(1, following)


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.match(word)
