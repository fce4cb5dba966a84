"""Structured output: the one grammar that the engine is given for each kind, and what is refused before it sees it.

Everything goes to llguidance, whose work is bounded. What it cannot compile, or gives up in mid-output, the engine
drops without a word and goes on unconstrained. So each constrained request also makes one token, the canary, the most
probable by far. No grammar allows that token: it comes exactly when the grammar has been dropped.
"""

import json
import re
from typing import Any

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.requests import StructuredOutput
from bellhousing_llamacpp.gbnf import GrammarError, lark_of

HEAD = "%llguidance {}\n"
CANARY_BIAS = 1_000.0
MAX_DEPTH = 64
MAX_SCHEMAS = 1_000
"""Objects in a JSON schema: llguidance compiles chains of them by recursion, and 3,000 end the process."""
MAX_REPETITION = 10_000
"""Characters and classes of a regular expression with repetitions written out: beyond, each token takes too long."""
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
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|.", re.DOTALL)
_REPEAT = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


def grammar_of(wanted: StructuredOutput, max_bytes: int) -> str:
    """Return the engine's grammar. Raises `InvalidRequest` for what is wrong or too large."""
    size = sum(len(text.encode()) for text in (wanted.value, *wanted.options))
    if size > max_bytes:
        raise refused(wanted, f"must have at most {max_bytes} bytes, found {size}")
    try:
        return HEAD + _body(wanted)
    except GrammarError as error:
        raise refused(wanted, str(error)) from error


def refused(wanted: StructuredOutput, what: str) -> InvalidRequest:
    """Return the error for a constraint that is not honoured."""
    return InvalidRequest([Violation(f"structured_output.{wanted.kind}", what)], backend="llamacpp")


def _body(wanted: StructuredOutput) -> str:
    if wanted.kind == "choice":
        return f"start: {_regex('|'.join(_literal(option) for option in wanted.options))}\n"
    if wanted.kind == "regex":
        _check_repetitions(wanted.value)
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
    try:
        schema = json.loads(text)
    except RecursionError as error:
        raise GrammarError(f"must be nested at most {MAX_DEPTH} deep, found more") from error
    except ValueError as error:
        raise GrammarError(f"must be JSON: {error}") from error
    counted = _checked_schemas(schema, 0)
    if counted > MAX_SCHEMAS:
        raise GrammarError(f"must have at most {MAX_SCHEMAS} objects, found {counted}")
    return {"x-guidance": COMPACT, **schema} if isinstance(schema, dict) else schema


def _checked_schemas(value: object, depth: int) -> int:
    """Return how many objects a schema has; check its depth and its patterns."""
    if depth > MAX_DEPTH:
        raise GrammarError(f"must be nested at most {MAX_DEPTH} deep, found more")
    if isinstance(value, list):
        return sum(_checked_schemas(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return 0
    for pattern in _patterns(value):
        _check_repetitions(pattern)
    return 1 + sum(_checked_schemas(item, depth + 1) for item in value.values())


def _patterns(schema: dict[str, Any]) -> list[str]:
    several = schema.get("patternProperties")
    found = [schema.get("pattern"), *(several if isinstance(several, dict) else ())]
    return [pattern for pattern in found if isinstance(pattern, str)]


def _check_repetitions(pattern: str) -> None:
    """Refuse a pattern whose repetitions, written out, are too long. It need not be well formed: the engine tells."""
    sizes = [0]
    last = 0
    at = 0
    while match := _REPEAT.match(pattern, at) or _ATOM.match(pattern, at):
        at = match.end()
        if match.re is _REPEAT:
            times = int(match[2] or match[1])
            sizes[-1] += last * max(0, times - 1)
            last *= max(1, times)
        elif match[0] == "(":
            sizes.append(0)
        elif match[0] == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif match[0] not in "*+?|":
            last = 1
            sizes[-1] += 1
        if len(sizes) > MAX_DEPTH or sizes[-1] > MAX_REPETITION:
            raise GrammarError(
                f"must have at most {MAX_REPETITION} characters with repetitions written out, and groups at most"
                f" {MAX_DEPTH} deep, found more"
            )
