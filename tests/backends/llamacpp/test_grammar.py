import json

import pytest

from bellhousing.errors import InvalidRequest
from bellhousing.requests import StructuredOutput
from bellhousing_llamacpp.grammar import HEAD, grammar_of

ROOMY = 100_000


def body(wanted: StructuredOutput) -> str:
    grammar = grammar_of(wanted, ROOMY)
    assert grammar.startswith(HEAD)
    return grammar.removeprefix(HEAD)


def test_json_is_written_in_one_line_unless_the_schema_says_how() -> None:
    schema = json.loads(body(StructuredOutput("json_schema", '{"type": "array"}')).removeprefix("start: %json "))
    assert schema["x-guidance"]["whitespace_flexible"] is False
    own = body(StructuredOutput("json_schema", '{"x-guidance": {"whitespace_flexible": true}}'))
    assert json.loads(own.removeprefix("start: %json ")) == {"x-guidance": {"whitespace_flexible": True}}


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("a/b", r"(?:a\/b)"),
        (r"a\/b", r"(?:a\/b)"),
        (r"a\\/b", r"(?:a\\\/b)"),
        ("a\nb", r"(?:a\nb)"),
        ("a\\\nb", r"(?:a\nb)"),
        ('x/\nstart: "evil"', r'(?:x\/\nstart: "evil")'),
    ],
)
def test_a_pattern_cannot_leave_its_place_in_the_grammar(pattern: str, written: str) -> None:
    assert body(StructuredOutput("regex", pattern)) == f"start: /{written}/\n"


def test_choices_are_taken_literally() -> None:
    assert body(StructuredOutput("choice", options=("a.b", "c|d"))) == r"start: /(?:a\x{2E}b|c\x{7C}d)/" + "\n"


@pytest.mark.parametrize("pattern", ["a{10001}", "(a{101}){101}", "((a{50}){50}){5}", "[abc]{9999}de", "(" * 65])
def test_patterns_that_are_too_long_when_written_out_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="repetitions written out"):
        grammar_of(StructuredOutput("regex", pattern), ROOMY)


@pytest.mark.parametrize(
    "pattern", ["a{100}" * 99, "(a{100}){99}", r"\{99999\}", "[{99999}]", "(a|b)*c{3,}", "a{", ")"]
)
def test_other_patterns_are_left_to_the_engine(pattern: str) -> None:
    assert grammar_of(StructuredOutput("regex", pattern), ROOMY)


def test_the_greatest_length_counts_bytes_of_all_choices() -> None:
    wanted = StructuredOutput("choice", options=("é" * 3, "é" * 3))
    assert grammar_of(wanted, 12)
    with pytest.raises(InvalidRequest, match="must have at most 11 bytes, found 12"):
        grammar_of(wanted, 11)


def test_patterns_inside_a_schema_are_checked_too() -> None:
    for schema in ('{"items": {"pattern": "a{99999}"}}', '{"patternProperties": {"a{99999}": {}}}'):
        with pytest.raises(InvalidRequest, match=r"structured_output\.json_schema"):
            grammar_of(StructuredOutput("json_schema", schema), ROOMY)
