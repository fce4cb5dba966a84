"""Structured output as a router takes it: a JSON schema of an object with properties, or a regular expression."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.json_schema import TYPES, SchemaError, read_schema
from bellhousing.requests import StructuredOutput

NAMES_ONLY = {"enum", "const", "type", "title", "description", "$schema"}
"""Keywords beside which a list of values stays just that."""


def grammar(wanted: StructuredOutput) -> dict[str, Any]:
    """Return the field `grammar`. Raises `InvalidRequest` for what a router would refuse or fail on."""
    match wanted.kind:
        case "json_schema":
            return _schema(wanted.value)
        case "choice":
            return _one_of(wanted.options)
        case "regex":
            return _regex(wanted.value)
        case kind:
            raise InvalidRequest([Violation(f"structured_output.{kind}", "is not supported by TGI")])


def _regex(pattern: str) -> dict[str, Any]:
    """Check the pattern here: a shard fails on a bad one, and fails every request of its batch with it."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise InvalidRequest(
            [Violation("structured_output.regex", f"must be a regular expression: {error}")]
        ) from error
    return {"type": "regex", "value": pattern}


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = read_schema(text)
    except SchemaError as error:
        raise _bad_schema(str(error)) from error
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        return {"type": "json", "value": schema}
    if isinstance(schema, dict) and ("enum" in schema or "const" in schema) and schema.keys() <= NAMES_ONLY:
        return _one_of([json.dumps(value, ensure_ascii=False) for value in _values(schema)])
    raise _bad_schema("must have `properties`, or be a plain `enum` or `const`: TGI takes no other schemas")


def _values(schema: Mapping[str, Any]) -> Sequence[Any]:
    """Return the values that a schema of only a list and perhaps types allows."""
    listed = schema.get("enum", [schema.get("const")])
    if not isinstance(listed, list):
        raise _bad_schema(f"`enum` must be a list, found {listed!r}")
    types = schema.get("type", list(TYPES))
    names = [types] if isinstance(types, str) else types
    unknown = [name for name in names if name not in TYPES]
    if unknown:
        raise _bad_schema(f"`type` must name a type of JSON, found {unknown[0]!r}")
    of_type = [value for value in listed if any(TYPES[name](value) for name in names)]
    kept = [value for value in of_type if "const" not in schema or value == schema["const"]]
    if not kept:
        raise _bad_schema("must allow a value, found none")
    return kept


def _one_of(texts: Sequence[str]) -> dict[str, Any]:
    return {"type": "regex", "value": f"({'|'.join(_literal(text) for text in texts)})"}


def _literal(text: str) -> str:
    """Return a pattern of the text itself; a shard's engine knows fewer escapes than `re.escape` writes."""
    return re.sub(r"([\\.^$*+?{}\[\]()|])", r"\\\1", text)


def _bad_schema(description: str) -> InvalidRequest:
    return InvalidRequest([Violation("structured_output.json_schema", description)])
