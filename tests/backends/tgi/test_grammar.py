import json
import re
from typing import Any

import pytest

from bellhousing.errors import InvalidRequest
from bellhousing.requests import StructuredOutput
from bellhousing_tgi.grammar import grammar


def of_schema(schema: Any) -> dict[str, Any]:
    return grammar(StructuredOutput("json_schema", json.dumps(schema)))


def allows(schema: Any, text: str) -> bool:
    return re.fullmatch(of_schema(schema)["value"], text) is not None


def test_an_object_with_properties_is_handed_over_as_it_is() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert of_schema(schema) == {"type": "json", "value": schema}


def test_choices_become_a_pattern_of_just_these_texts() -> None:
    texts = ("a.b", "(c)", "[d]*", "e|f", "g\\h", "{2}", "ü^$?+")
    pattern = grammar(StructuredOutput("choice", options=texts))["value"]
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert not any(re.fullmatch(pattern, text) for text in ("axb", "c", "e", "f", "gh", "d"))


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({"enum": ["red", 1, None]}, ['"red"', "1", "null"], ["red", "2", "true"]),
        ({"type": "string", "enum": ["red", 1]}, ['"red"'], ["1"]),
        ({"type": ["string", "integer"], "enum": ["red", 1, 1.5, True]}, ['"red"', "1"], ["1.5", "true"]),
        ({"const": {"a": 1}}, ['{"a": 1}'], ["{}"]),
        ({"enum": ["a", "b"], "const": "b"}, ['"b"'], ['"a"']),
    ],
)
def test_a_plain_list_of_values_becomes_a_pattern(schema: Any, allowed: list[str], refused: list[str]) -> None:
    assert all(allows(schema, text) for text in allowed)
    assert not any(allows(schema, text) for text in refused)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"enum": ["a"], "minLength": 2},
        {"enum": "a"},
        {"type": "color", "enum": ["a"]},
        {"type": "integer", "enum": ["a"]},
        {"properties": []},
        [],
        True,
    ],
)
def test_a_schema_that_tgi_would_refuse_is_refused_here(schema: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"structured_output\.json_schema"):
        of_schema(schema)


def test_what_is_no_json_and_no_regular_expression_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be JSON"):
        grammar(StructuredOutput("json_schema", "{"))
    with pytest.raises(InvalidRequest, match=r"structured_output\.regex"):
        grammar(StructuredOutput("regex", "(["))
