"""Bounds and facts of JSON schemas that every backend needs before an engine compiles one."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_DEPTH = 64
MAX_SCHEMAS = 1_000
"""Objects in a schema: engines compile chains of them by recursion, and 3,000 can end their process."""
MAX_REPETITION = 10_000
"""Characters and classes of a regular expression with repetitions written out: beyond, each token takes too long."""


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a number; in Python true and false are numbers too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
"""JSON's types by the names that schemas have for them, each with whether a value is of it."""
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|.", re.DOTALL)
_REPEAT = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


class SchemaError(ValueError):
    """A schema or pattern is wrong or too large; the message says what was expected and found."""


def read_schema(text: str) -> Any:
    """Return a schema's JSON value. Raises `SchemaError` for what is none, or is beyond the bounds of this module."""
    try:
        schema = json.loads(text)
    except RecursionError as error:
        raise SchemaError(f"must be nested at most {MAX_DEPTH} deep, found more") from error
    except ValueError as error:
        raise SchemaError(f"must be JSON: {error}") from error
    counted = _checked(schema, 0)
    if counted > MAX_SCHEMAS:
        raise SchemaError(f"must have at most {MAX_SCHEMAS} objects, found {counted}")
    return schema


def check_repetitions(pattern: str) -> None:
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
            raise SchemaError(
                f"must have at most {MAX_REPETITION} characters with repetitions written out, and groups at most"
                f" {MAX_DEPTH} deep, found more"
            )


def _checked(value: object, depth: int) -> int:
    """Return how many objects a schema has; check its depth and its patterns."""
    if depth > MAX_DEPTH:
        raise SchemaError(f"must be nested at most {MAX_DEPTH} deep, found more")
    if isinstance(value, list):
        return sum(_checked(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return 0
    for pattern in _patterns(value):
        check_repetitions(pattern)
    return 1 + sum(_checked(item, depth + 1) for item in value.values())


def _patterns(schema: dict[str, Any]) -> list[str]:
    several = schema.get("patternProperties")
    found = [schema.get("pattern"), *(several if isinstance(several, dict) else ())]
    return [pattern for pattern in found if isinstance(pattern, str)]
