"""GBNF, llama.cpp's grammar notation, rewritten in the Lark notation of the engine's other grammar library.

llama.cpp's own GBNF code follows every reading of a grammar at once: a few nested brackets can hang the engine for all
requests, and deep nesting ends the process. llguidance, which the engine embeds as well, has bounds for both. Every
character becomes a lexeme of its own, so that the grammar means the same.

Notation: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache

MAX_RULES = 1_000
"""Rules and groups: llguidance follows chains of them by recursion."""
MAX_DEPTH = 64
MAX_SYMBOLS = 10_000
"""Characters and rules, with repetitions written out."""
_NAME = re.compile(r"[A-Za-z0-9-]+")
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_REPEAT = re.compile(r"\{[ \t]*(\d{1,9})[ \t]*(?:(,)[ \t]*(\d{1,9})?[ \t]*)?\}")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]"}
_HEX = {"x": 2, "u": 4, "U": 8}
_SUFFIXES = {"*": (0, None), "+": (1, None), "?": (0, 1)}
ANY_CHARACTER = r"/[\x{0}-\x{10FFFF}]/"


class GrammarError(ValueError):
    """A grammar is wrong or too large; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A symbol in Lark's notation, and how many symbols it stands for."""

    text: str
    size: int


@dataclass(slots=True)
class _Rules:
    """The rules written so far, by their name in Lark's notation."""

    bodies: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=lambda: {"root": "start"})
    size: int = 0

    def name_of(self, name: str) -> str:
        """Return the Lark name of a GBNF rule; Lark has neither capitals nor dashes in the names of rules."""
        return self.names.setdefault(name, f"r{len(self.names)}")

    def add_group(self, body: str) -> str:
        """Write a group as a rule of its own: Lark bounds how deep brackets nest."""
        name = f"g{len(self.bodies)}"
        self.bodies[name] = body
        return name


@lru_cache(maxsize=64)
def lark_of(grammar: str) -> str:
    """Return the grammar in Lark's notation. Raises `GrammarError`."""
    return _Translator(grammar).translate()


class _Translator:
    """Reads a grammar from left to right and writes its rules."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._rules = _Rules()

    def translate(self) -> str:
        """Return all rules."""
        self._skip(lines=True)
        while self._at < len(self._text):
            self._rule()
            self._skip(lines=True)
        rules = self._rules
        missing = next((name for name, lark in rules.names.items() if lark not in rules.bodies), None)
        if missing is not None:
            raise GrammarError(f"expected a rule named {missing!r}, found none")
        return "\n".join(f"{name}: {body}" for name, body in rules.bodies.items())

    def _rule(self) -> None:
        name = self._name()
        self._skip(lines=False)
        if not self._takes("::="):
            raise self._wrong(f"'::=' after the rule name {name!r}")
        lark = self._rules.name_of(name)
        if lark in self._rules.bodies:
            raise GrammarError(f"expected one rule named {name!r}, found a second on line {self._line()}")
        self._rules.bodies[lark] = ""  # keeps its place before its groups
        self._skip(lines=True)
        body = self._alternatives(in_group=False)
        if self._at < len(self._text) and self._text[self._at] not in "\r\n":
            raise self._wrong("a symbol, '|' or the end of the line")
        self._rules.bodies[lark] = body.text
        self._grow(body.size)

    def _alternatives(self, *, in_group: bool) -> _Item:
        options = [self._sequence(in_group=in_group)]
        while self._takes("|"):
            self._skip(lines=True)
            options.append(self._sequence(in_group=in_group))
        return _Item(" | ".join(option.text for option in options), sum(option.size for option in options))

    def _sequence(self, *, in_group: bool) -> _Item:
        items: list[_Item] = []
        while (symbol := self._symbol()) is not None:
            self._skip(lines=in_group)
            items += self._repeated(symbol, in_group=in_group)
        return _Item(" ".join(item.text for item in items) or '""', sum(item.size for item in items))

    def _symbol(self) -> list[_Item] | None:
        """Return the next symbol, a literal as one item a character; None where the sequence ends."""
        next_character = self._text[self._at : self._at + 1]
        if next_character == '"':
            return self._literal()
        if next_character == "[":
            return [self._character_class()]
        if next_character == ".":
            self._at += 1
            return [_Item(ANY_CHARACTER, 1)]
        if next_character == "(":
            return [self._group()]
        if next_character in ("<", "!"):
            raise self._wrong("a literal, class, rule or group: token references are not supported")
        if _NAME.match(self._text, self._at):
            return [_Item(self._rules.name_of(self._name()), 1)]
        return None

    def _group(self) -> _Item:
        self._at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise GrammarError(f"expected groups at most {MAX_DEPTH} deep, found more on line {self._line()}")
        self._skip(lines=True)
        body = self._alternatives(in_group=True)
        if not self._takes(")"):
            raise self._wrong("')' at the end of a group")
        self._depth -= 1
        return _Item(self._rules.add_group(body.text), body.size)

    def _repeated(self, symbol: list[_Item], *, in_group: bool) -> list[_Item]:
        """Return a symbol with the repetitions that follow it."""
        while (bounds := self._bounds()) is not None:
            self._skip(lines=in_group)
            low, high = bounds
            if high is not None and low > high:
                raise GrammarError(f"expected bounds in order, found {{{low},{high}}} on line {self._line()}")
            if high == 0 or not symbol:
                symbol = []
                continue
            one = symbol[0].text if len(symbol) == 1 else self._rules.add_group(" ".join(item.text for item in symbol))
            size = sum(item.size for item in symbol) * max(1, low if high is None else high)
            self._check_size(size)
            upper = "" if high is None else high
            # A group of its own: Lark takes one repetition only.
            symbol = [_Item(self._rules.add_group(f"{one}{{{low},{upper}}}"), size)]
        return symbol

    def _bounds(self) -> tuple[int, int | None] | None:
        suffix = _SUFFIXES.get(self._text[self._at : self._at + 1])
        if suffix:
            self._at += 1
            return suffix
        match = _REPEAT.match(self._text, self._at)
        if match is None:
            if self._text.startswith("{", self._at):
                raise self._wrong("a repetition such as {2}, {2,} or {2,5}")
            return None
        self._at = match.end()
        low = int(match[1])
        return low, (int(match[3]) if match[3] else None) if match[2] else low

    def _literal(self) -> list[_Item]:
        self._at += 1
        items = []
        while not self._takes('"'):
            items.append(_Item(json.dumps(chr(self._character("'\"' at the end of a literal"))), 1))
        return items

    def _character_class(self) -> _Item:
        self._at += 1
        negation = "^" if self._takes("^") else ""
        ranges = []
        while not self._takes("]"):
            low = high = self._character("']' at the end of a class")
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._character("']' at the end of a class")
            if high < low:
                raise self._wrong("a range from a lower to a higher character")
            ranges.append(f"\\x{{{low:X}}}-\\x{{{high:X}}}")
        if not ranges:
            raise self._wrong("at least one character in a class")
        return _Item(f"/[{negation}{''.join(ranges)}]/", 1)

    def _character(self, otherwise: str) -> int:
        """Return the code point of the next character, escaped or not."""
        character = self._text[self._at : self._at + 1]
        if not character:
            raise self._wrong(otherwise)
        self._at += 1
        if character != "\\":
            return ord(character)
        kind = self._text[self._at : self._at + 1]
        self._at += 1
        if kind in _ESCAPES:
            return ord(_ESCAPES[kind])
        digits = self._text[self._at : self._at + _HEX.get(kind, 0)]
        if not re.fullmatch(r"[0-9a-fA-F]+", digits) or len(digits) != _HEX[kind]:
            raise self._wrong('an escape: one of \\t \\r \\n \\\\ \\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH')
        self._at += len(digits)
        value = int(digits, 16)
        if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise self._wrong("an escape that stands for a character")
        return value

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self._wrong("the name of a rule")
        self._at = match.end()
        return match[0]

    def _takes(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _skip(self, *, lines: bool) -> None:
        match = (_SPACE_AND_LINES if lines else _SPACE).match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _grow(self, size: int) -> None:
        self._rules.size += size
        self._check_size(self._rules.size)
        if len(self._rules.bodies) > MAX_RULES:
            raise GrammarError(f"expected at most {MAX_RULES} rules and groups, found more")

    def _check_size(self, size: int) -> None:
        if size > MAX_SYMBOLS:
            raise GrammarError(f"expected at most {MAX_SYMBOLS} symbols with repetitions written out, found {size}")

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _wrong(self, expected: str) -> GrammarError:
        found = self._text[self._at : self._at + 1]
        return GrammarError(f"line {self._line()}: expected {expected}, found {found!r}" if found else
                            f"line {self._line()}: expected {expected}, found the end")  # fmt: skip
