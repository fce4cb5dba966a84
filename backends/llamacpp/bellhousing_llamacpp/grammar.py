"""Structured output: the one grammar that the engine is given for each kind, and what is refused before it sees it.

Everything goes to llguidance, whose work is bounded. What it cannot compile, or gives up in mid-output, the engine
drops without a word and goes on unconstrained. So each constrained request also makes one token, the canary, the most
probable by far. No grammar allows that token: it comes exactly when the grammar has been dropped.
"""

import json
import re
from typing import Any

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.json_schema import SchemaError, check_repetitions, read_schema
from bellhousing.requests import StructuredOutput
from bellhousing_llamacpp.gbnf import GrammarError, lark_of

HEAD = "%llguidance {}\n"
CANARY_BIAS = 1_000.0
COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON in one line. With free white space a small model may write nothing else until its tokens are used up."""
UNKNOWN_TO_THE_ENGINE = {
    "regex": "the engine cannot compile it: look-around, \\b and back-references are not supported",
    "json_schema": "the engine cannot compile it: it has a keyword or a combination that the engine does not know, or"
    " nothing can satisfy it",
    "grammar": "the engine cannot compile it, or it can be read in too many ways at once",
    "choice": "the engine cannot compile it",
    "json_object": "the engine cannot compile it",
}


def grammar_of(wanted: StructuredOutput, max_bytes: int) -> str:
    """Return the engine's grammar. Raises `InvalidRequest` for what is wrong or too large."""
    size = sum(len(text.encode()) for text in (wanted.value, *wanted.options))
    if size > max_bytes:
        raise refused(wanted, f"must have at most {max_bytes} bytes, found {size}")
    try:
        return HEAD + _body(wanted)
    except (GrammarError, SchemaError) as error:
        raise refused(wanted, str(error)) from error


def refused(wanted: StructuredOutput, what: str) -> InvalidRequest:
    """Return the error for a constraint that is not honoured."""
    return InvalidRequest([Violation(f"structured_output.{wanted.kind}", what)], backend="llamacpp")


def _body(wanted: StructuredOutput) -> str:
    if wanted.kind == "choice":
        return f"start: {_regex('|'.join(_literal(option) for option in wanted.options))}\n"
    if wanted.kind == "regex":
        check_repetitions(wanted.value)
        return f"start: {_regex(wanted.value)}\n"
    if wanted.kind == "grammar":
        return lark_of(wanted.value)
    schema = {"type": "object"} if wanted.kind == "json_object" else _schema(wanted.value)
    return f"start: %json {json.dumps(schema)}\n"


def _literal(text: str) -> str:
    """Return a regular expression for exactly this text."""
    return "".join(c if c.isascii() and (c.isalnum() or c == " ") else f"\\x{{{ord(c):X}}}" for c in text)


def _regex(pattern: str) -> str:
    """Return a pattern between slashes; slashes and line ends in it are escaped, so that it cannot get out."""
    plain = {"/": "\\/", "\n": "\\n", "\r": "\\r"}

    def escaped(match: re.Match[str]) -> str:
        return plain.get(match[0][-1], match[0])

    inside = re.sub(r"\\?.", escaped, pattern, flags=re.DOTALL)
    return f"/(?:{inside})/"


def _schema(text: str) -> Any:
    schema = read_schema(text)
    return {"x-guidance": COMPACT, **schema} if isinstance(schema, dict) else schema
