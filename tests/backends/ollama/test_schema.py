"""What is kept of a schema is sent, and the rest refused by name; each refusal is of something llama.cpp would drop."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from bellhousing.errors import InvalidRequest
from bellhousing.json_schema import SchemaError
from bellhousing.requests import StructuredOutput
from bellhousing.testing.probe import Probe
from bellhousing_ollama.pattern import check_pattern
from bellhousing_ollama.schema import checked_schema
from tests.backends.ollama.conftest import attached
from tests.engines.ollama import ScriptedOllama

PATTERNS = [
    "^[0-9]{3}$",
    "^(red|blue|green)$",
    "^[A-Z][a-z]{2,5}( [A-Z][a-z]{1,3})?$",
    r"^[0-9]{1,3}\.[0-9]{2}$",
    "^(?:ab|c){2}[.]{2}$",
    "^[a-fA-F0-9_-]{4}$",
    "^né(é){2}$",
    "^x[-+]?(7){4}$",
]
DROPPED = [
    ("[0-9]+", "must begin with"),
    ("^a", "must begin with"),
    (r"^\d{3}$", r"has '\\\\d' at 1"),
    (r"^\w+@\w+$", "not supported"),
    ("^(?=a)b$", "not supported"),
    ("^(?P<x>a)$", "not supported"),
    ("^a^b$", "not supported"),
    ("^.{3}$", "not supported"),
    ("^[^a]$", "not supported"),
    ('^"$', "not supported"),
    (r"^[\.]$", "not supported"),
    ("^[ -~]$", "without quote and backslash"),
    (r"^a\.+$", "write it as a class or a group"),
    ("^é+$", "write it as a class or a group"),
    ("^*$", "repeats nothing"),
    ("^a|*$", "repeats nothing"),
    ("^a{2}{3}$", "repeats nothing, or a repetition"),
    ("^a*?$", "repeats nothing, or a repetition"),
    ("^a{,3}$", "not supported"),
    ("^a\n$", "not supported"),
]
KEPT: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "object", "additionalProperties": True},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"title": "T", "type": "object", "properties": {"a": {"type": "string", "maxLength": 4, "description": "d"}}},
    {"properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}, "minItems": 1, "maxItems": 2},
    {"type": "array", "prefixItems": [{"type": "null"}, {"const": 1}], "minItems": 2, "maxItems": 2},
    {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
    {"type": ["string", "null"], "minLength": 2},
    {"type": ["string", "null"], "enum": ["a", None]},
    {"$defs": {"A": {"enum": ["a", "b"]}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}},
    {"type": "string", "pattern": "^[a-z]{2}$"},
]
LOST: list[tuple[dict[str, Any], str]] = [
    ({"type": "string", "pattern": r"^\d$"}, "has .* at 1, which is not supported"),
    ({"type": "string", "pattern": "^a$", "maxLength": 3}, "`maxLength` would not be kept beside `pattern`"),
    ({"type": "string", "format": "email"}, "/format: must be one of date"),
    ({"type": "string", "format": "date", "minLength": 3}, "`minLength` would not be kept beside `format`"),
    ({"minLength": 3}, "/: `minLength` would not be kept without a type"),
    ({"type": "number", "minimum": 0}, "`minimum` would not be kept for the type number"),
    ({"type": "integer", "multipleOf": 3}, "`multipleOf` would not be kept for the type integer"),
    ({"type": "integer", "minimum": 1, "exclusiveMinimum": 2}, "`exclusiveMinimum` would not be kept"),
    ({"type": "integer", "minimum": 0.5}, "/minimum: must be an integer, found 0.5"),
    ({"type": "array", "items": {}, "uniqueItems": True}, "`uniqueItems` would not be kept beside `items`"),
    ({"type": "array", "minItems": 2}, "`minItems` would not be kept for the type array"),
    ({"type": "array", "prefixItems": [{}], "items": {}}, "`prefixItems` would not be kept beside `items`"),
    ({"type": "array", "prefixItems": [{}], "minItems": 2}, "must have minItems to maxItems items, found 1"),
    ({"type": "object", "minProperties": 1}, "`minProperties` would not be kept for the type object"),
    ({"type": "object", "properties": {}, "required": ["a"]}, "/required: must name `properties`, found 'a'"),
    ({"type": "object", "required": ["a"]}, "`required` would not be kept"),
    ({"patternProperties": {"^a$": {}}}, "`patternProperties` would not be kept"),
    ({"allOf": [{"type": "string"}]}, "`allOf` would not be kept"),
    ({"not": {"type": "string"}}, "`not` would not be kept"),
    ({"oneOf": [{}]}, "/oneOf: must be anyOf"),
    ({"anyOf": [{}], "properties": {"a": {}}}, "`properties` would not be kept beside `anyOf`"),
    ({"$ref": "#/$defs/A", "minLength": 1, "$defs": {"A": {}}}, r"`minLength` would not be kept beside `\$ref`"),
    ({"$ref": "https://example.org/a"}, "must begin with #/"),
    ({"const": 1, "enum": [1]}, "`enum` would not be kept beside `const`"),
    ({"type": "string", "enum": ["a", 1]}, "/enum: must have values of the type string alone, found 1"),
    ({"type": "strange"}, "/type: must be one or more of null"),
    ({"type": []}, "/type: must be one or more of null"),
    ({"properties": {"a": {"items": True}}}, "/properties/a/items: must be an object"),
    ({"$defs": {"A": {"if": {}}}, "type": "object"}, r"/\$defs/A: `if` would not be kept"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_that_llama_cpp_keeps_is_taken(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(("pattern", "why"), DROPPED)
def test_a_pattern_that_llama_cpp_drops_or_gets_wrong_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        check_pattern(pattern)


@pytest.mark.parametrize("schema", KEPT, ids=json.dumps)
def test_a_schema_that_is_kept_whole_is_taken_as_it_is(schema: dict[str, Any]) -> None:
    assert checked_schema(json.dumps(schema)) == schema


@pytest.mark.parametrize(("schema", "why"), LOST, ids=lambda value: json.dumps(value)[:60])
async def test_what_would_not_be_kept_is_refused_by_name_and_never_sent(schema: dict[str, Any], why: str) -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        asked = len(engine.asked)
        request = replace(probe.request(), structured_output=StructuredOutput("json_schema", json.dumps(schema)))
        with pytest.raises(InvalidRequest, match=f"structured_output.json_schema: .*{why}"):
            await probe.run(request)
        assert len(engine.asked) == asked


@pytest.mark.engine
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="session")
class TestOnTheEngine:
    @pytest.mark.parametrize("pattern", PATTERNS)
    async def test_a_pattern_is_kept_whatever_is_drawn(self, probe: Probe, pattern: str) -> None:
        for seed in range(3):
            text = await said(probe, {"type": "string", "pattern": pattern}, seed)
            assert re.fullmatch(pattern, json.loads(text)), text

    @pytest.mark.parametrize(
        ("schema", "is_kept"),
        [
            ({"type": ["string", "null"], "minLength": 2, "maxLength": 3}, lambda v: v is None or 2 <= len(v) <= 3),
            ({"type": "integer", "minimum": 12, "exclusiveMaximum": 15}, lambda v: 12 <= v < 15),
            ({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 3}, lambda v: 2 <= len(v) <= 3),
            ({"type": "array", "prefixItems": [{"type": "null"}, {"const": 1}]}, lambda v: v == [None, 1]),
            ({"type": "string", "format": "date"}, lambda v: re.fullmatch(r"\d{4}-\d\d-\d\d", v)),
            (
                {"$defs": {"A": {"enum": ["a", "b"]}}, "properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]},
                lambda v: v["a"] in {"a", "b"},
            ),
        ],
    )
    async def test_a_keyword_is_kept_whatever_is_drawn(
        self, probe: Probe, schema: dict[str, Any], is_kept: Any
    ) -> None:
        for seed in range(3):
            text = await said(probe, schema, seed)
            assert is_kept(json.loads(text)), text


async def said(probe: Probe, schema: dict[str, Any], seed: int) -> str:
    request = probe.request("Say something:", max_tokens=48, temperature=1.5, seed=seed)
    output = await probe.run(replace(request, structured_output=StructuredOutput("json_schema", json.dumps(schema))))
    assert output.reason() == "eos"
    return output.text().decode()
