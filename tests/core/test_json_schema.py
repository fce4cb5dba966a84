import json
from typing import Any

import pytest

from bellhousing.json_schema import MAX_SCHEMAS, TYPES, SchemaError, check_repetitions, read_schema


def test_a_schema_is_read_as_it_is() -> None:
    assert read_schema('{"b": 1, "a": [true, null]}') == {"b": 1, "a": [True, None]}


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}"])
def test_what_is_no_json_is_told(text: str) -> None:
    with pytest.raises(SchemaError, match="must be JSON"):
        read_schema(text)


@pytest.mark.parametrize("depth", [66, 100_000])
def test_a_schema_that_is_nested_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(SchemaError, match="nested at most 64 deep"):
        read_schema("[" * depth + "]" * depth)


def test_a_schema_of_too_many_objects_is_refused() -> None:
    assert read_schema(json.dumps([{}] * MAX_SCHEMAS))
    with pytest.raises(SchemaError, match="at most 1000 objects, found 1001"):
        read_schema(json.dumps([{}] * (MAX_SCHEMAS + 1)))


@pytest.mark.parametrize("schema", ['{"items": {"pattern": "a{99999}"}}', '{"patternProperties": {"a{99999}": {}}}'])
def test_patterns_inside_a_schema_are_checked(schema: str) -> None:
    with pytest.raises(SchemaError, match="repetitions written out"):
        read_schema(schema)


def test_a_property_may_be_called_pattern() -> None:
    assert read_schema('{"properties": {"pattern": {"type": "string"}}}')


@pytest.mark.parametrize("pattern", ["a{9999}", "(a{100}){99}", r"\{99999\}"])
def test_a_pattern_that_is_short_enough_is_taken(pattern: str) -> None:
    check_repetitions(pattern)


@pytest.mark.parametrize(
    ("name", "those", "others"),
    [
        ("integer", [1, 1.0, -3], [True, 1.5, float("inf"), float("nan"), "1"]),
        ("number", [1, 1.5], [True, "1", None]),
        ("boolean", [True, False], [0, 1]),
        ("null", [None], [0, "", []]),
        ("array", [[]], [{}, ""]),
        ("object", [{}], [[]]),
        ("string", [""], [1]),
    ],
)
def test_values_are_told_apart_by_their_json_type(name: str, those: list[Any], others: list[Any]) -> None:
    assert all(TYPES[name](value) for value in those)
    assert not any(TYPES[name](value) for value in others)
