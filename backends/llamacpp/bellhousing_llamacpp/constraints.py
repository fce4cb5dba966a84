"""Structured output: what llama.cpp is given for each kind, and what is refused before it sees it.

Two things are known of the engine and guarded against here. A schema or regular expression that it cannot compile is
ignored without a word, so each is tried once with a request that tells. And a hostile GBNF grammar can crash or hang
the whole process, so its size, depth and repetitions are bounded.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.requests import StructuredOutput

MAX_BYTES, MAX_DEPTH, MAX_REPETITION, MAX_NESTED_REPETITIONS = 65_536, 64, 1_000, 2
KEPT = 256
_REPETITION = re.compile(r"\{\s*(\d+)\s*(?:,\s*(\d*)\s*)?\}")

Compiles = Callable[[str], Awaitable[bool]]
"""Tells whether the engine compiles an llguidance rule named `u`."""


class Constraints:
    """Turns structured output into fields of a request; remembers what compiled."""

    def __init__(self, compiles: Compiles) -> None:
        self._compiles = compiles
        self._known: OrderedDict[tuple[str, str], bool] = OrderedDict()

    async def fields(self, wanted: StructuredOutput) -> dict[str, Any]:
        """Return the fields. Raises `InvalidRequest` for what the engine cannot honour or could not survive."""
        if wanted.kind == "choice":
            return {"grammar": choice_grammar(wanted.options)}
        if wanted.kind == "json_object":
            return {"json_schema": {"type": "object"}}
        _bounded(wanted)
        if wanted.kind == "grammar":
            _check_gbnf(wanted.value)
            return {"grammar": wanted.value}
        if not await self._known_to_compile(wanted):
            raise _refused(wanted, "the engine cannot compile it")
        if wanted.kind == "regex":
            return {"grammar": f"%llguidance {{}}\nstart: {_regex_literal(wanted.value)}\n"}
        return {"json_schema": json.loads(wanted.value)}

    async def _known_to_compile(self, wanted: StructuredOutput) -> bool:
        key = (wanted.kind, wanted.value)
        if key not in self._known:
            rule = _regex_literal(wanted.value) if wanted.kind == "regex" else f"%json {wanted.value}"
            self._known[key] = await self._compiles(rule)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[key]


def choice_grammar(options: tuple[str, ...]) -> str:
    """Return a GBNF grammar that matches exactly one of the options."""
    return "root ::= " + " | ".join(_gbnf_literal(option) for option in options)


def _gbnf_literal(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def _regex_literal(pattern: str) -> str:
    """Return a pattern between slashes, with slashes and line ends inside escaped."""
    escaped = re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", pattern)
    return "/" + escaped.replace("\n", "\\n").replace("\r", "\\r") + "/"


def _bounded(wanted: StructuredOutput) -> None:
    size = len(wanted.value.encode())
    if size > MAX_BYTES:
        raise _refused(wanted, f"must have at most {MAX_BYTES} bytes, found {size}")
    brackets = {"json_schema": ("{[", "}]"), "regex": ("(", ")"), "grammar": ("(", ")")}[wanted.kind]
    depth = deepest = 0
    for character in wanted.value:
        depth += (character in brackets[0]) - (character in brackets[1])
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise _refused(wanted, f"must be nested at most {MAX_DEPTH} deep, found {deepest}")
    if wanted.kind != "json_schema":
        _check_repetitions(wanted)


def _check_repetitions(wanted: StructuredOutput) -> None:
    found = [int(m[2] or m[1]) for m in _REPETITION.finditer(wanted.value)]
    large = [number for number in found if number > 1]
    product = 1
    for number in large:
        product *= number
    if any(number > MAX_REPETITION for number in found) or product > MAX_REPETITION**MAX_NESTED_REPETITIONS:
        raise _refused(wanted, f"must repeat at most {MAX_REPETITION} times, and all repetitions together stay small")


def _check_gbnf(grammar: str) -> None:
    wanted = StructuredOutput("grammar", grammar)
    if grammar.lstrip().startswith("%llguidance"):
        raise _refused(wanted, "must be GBNF, found an llguidance grammar")
    if not re.search(r"^\s*root\s*::=", grammar, re.MULTILINE):
        raise _refused(wanted, "must define `root`, found no such rule")


def _refused(wanted: StructuredOutput, what: str) -> InvalidRequest:
    return InvalidRequest([Violation(f"structured_output.{wanted.kind}", what)])
