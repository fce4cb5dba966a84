"""Output with a form, on the real engine."""

import json
import re

import pytest

from bellhousing.errors import InvalidRequest
from bellhousing.testing import Served
from bellhousing.v1 import inference_pb2 as pb

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASK = "Describe a person as JSON: "


async def test_json_keeps_to_its_schema(served: Served) -> None:
    for seed in range(3):
        answer = await served.client.complete(
            ASK, max_tokens=120, temperature=1, seed=seed, json_schema=json.dumps(SCHEMA)
        )
        if answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_MAX_TOKENS:
            continue
        found = json.loads(answer.outputs[0].text)
        assert found.keys() == {"name", "age"}
        assert len(found["name"]) <= 12
        assert found["age"] >= 0


async def test_any_json_object(served: Served) -> None:
    answer = await served.client.complete(ASK, max_tokens=200, temperature=0, json_object=True)
    text = answer.outputs[0].text.strip()
    assert text.startswith("{")
    if answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_EOS:
        assert isinstance(json.loads(text), dict)


async def test_a_regular_expression_a_choice_and_a_grammar(served: Served) -> None:
    date = await served.client.complete("Today is ", max_tokens=30, temperature=1, seed=1, regex="[0-9]{4}-[0-9]{2}")
    assert re.fullmatch("[0-9]{4}-[0-9]{2}", date.outputs[0].text)
    colour = await served.client.complete("My favourite colour is ", max_tokens=30, choice=["crimson", "teal"])
    assert colour.outputs[0].text in ("crimson", "teal")
    grammar = 'root ::= "yes" (" yes")? "!"'
    cheer = await served.client.complete("Cheer: ", max_tokens=30, grammar=grammar)
    assert cheer.outputs[0].text in ("yes!", "yes yes!")
    for answer in (date, colour, cheer):
        assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_EOS


async def test_min_tokens_that_a_form_cannot_reach_end_it_where_it_ends(served: Served) -> None:
    answer = await served.client.complete("Colour: ", max_tokens=30, min_tokens=20, choice=["crimson", "teal"])
    assert answer.outputs[0].text in ("crimson", "teal")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json_schema", '{"type": "no such type"}'),
        ("regex", "[0-9"),
        ("regex", "(?<=a)b"),
        ("grammar", "root ::= nothing"),
        ("grammar", "this is no grammar"),
    ],
)
async def test_a_form_that_is_none_is_refused_by_its_name_and_the_engine_goes_on(
    served: Served, kind: str, value: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await served.client.complete("A: ", max_tokens=5, **{kind: value})  # type: ignore[arg-type]
    assert [violation.field for violation in refused.value.violations] == [f"structured_output.{kind}"]
    assert (await served.client.complete("A: ", max_tokens=2, temperature=0)).outputs[0].text
