"""A task with known answers: the suite's own, made from a seed, or the operator's."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bellhousing.errors import ConfigurationError

WORDS = (
    "apple",
    "bridge",
    "candle",
    "dragon",
    "engine",
    "forest",
    "garden",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "lemon",
)
WITH_Q = (
    "quick",
    "quiet",
    "queen",
    "quarter",
    "question",
    "quilt",
    "quote",
    "quartz",
    "squash",
    "equal",
    "liquid",
    "request",
)
CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt, and how a right continuation begins, white space before it aside."""

    prompt: str
    answer: str

    def is_right(self, text: str) -> bool:
        """Tell whether a continuation is right."""
        return text.lstrip().startswith(self.answer)


def _arithmetic(source: random.Random) -> Item:
    a, b, c, d = (source.randint(1, 9) for _ in range(4))
    return Item(f"{c} + {d} = {c + d}\n2 + 2 = 4\n{a} + {b} =", str(a + b))


def _copying(source: random.Random) -> Item:
    words = source.sample(WORDS, 4)
    text = " ".join(words)
    return Item(f"Say it twice: {text}. {' '.join(words[:3])}", words[3])


def _brackets(source: random.Random) -> Item:
    opened = [source.choice(list(CLOSING)) for _ in range(source.randint(1, 3))]
    closing = "".join(CLOSING[each] for each in reversed(opened))
    shown = [source.choice(list(CLOSING)) for _ in range(2)]
    example = f"{''.join(shown)} closes with {''.join(CLOSING[each] for each in reversed(shown))}\n"
    return Item(f"{example}{''.join(opened)} closes with ", closing)


def _spelling(source: random.Random) -> Item:
    """In English a q is followed by a u: what even the simplest model of letters knows."""
    words = source.sample(WITH_Q, 4)
    last = words.pop()
    return Item(f"{' '.join(words)} {last[: last.index('q') + 1]}", "u")


FAMILIES: tuple[Callable[[random.Random], Item], ...] = (_arithmetic, _copying, _brackets, _spelling)


def made_items(source: random.Random, count: int) -> list[Item]:
    """Return items of every family in turn."""
    return [FAMILIES[place % len(FAMILIES)](source) for place in range(count)]


def read_items(file: Path) -> list[Item]:
    """Return the items of a JSONL file: objects with `prompt` and `answer`, both strings.

    Raises `ConfigurationError` naming the file, the line and what was found.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--task-file {str(file)!r}: expected a text file, found {error}") from error
    items = [_item(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise ConfigurationError(f"--task-file {str(file)!r}: expected at least one item, found none")
    return items


def _item(file: Path, number: int, line: str) -> Item:
    try:
        told = json.loads(line)
        prompt, answer = told["prompt"], told["answer"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"--task-file {str(file)!r}, line {number}: expected an object with prompt and answer, found {line[:80]!r}"
        ) from error
    if not (isinstance(prompt, str) and isinstance(answer, str) and prompt and answer):
        raise ConfigurationError(
            f"--task-file {str(file)!r}, line {number}: expected prompt and answer to be texts, found {line[:80]!r}"
        )
    return Item(prompt, answer)
