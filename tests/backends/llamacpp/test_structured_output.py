import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bellhousing.errors import EngineFault, InvalidRequest
from bellhousing.requests import StructuredKind, StructuredOutput
from tests.backends.llamacpp.conftest import Running, becomes_idle, generate, request

pytestmark = pytest.mark.asyncio(loop_scope="session")

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
JSON_GBNF = (Path(__file__).parent / "json.gbnf").read_text()


def structured(kind: StructuredKind, value: str = "", *options: str) -> StructuredOutput:
    return StructuredOutput(kind, value, options)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_output_follows_a_json_schema(engine: Running, temperature: float) -> None:
    wanted = structured("json_schema", json.dumps(PERSON))
    for seed in range(3):
        output = await generate(
            engine,
            request("A person:", structured_output=wanted, max_tokens=80, temperature=temperature, seed=seed),
        )
        assert output.reason == "eos"
        found = json.loads(output.text)
        assert set(found) == {"name", "age"}
        assert isinstance(found["age"], int)


async def test_output_is_a_json_object(engine: Running) -> None:
    output = await generate(
        engine, request("JSON: ", structured_output=structured("json_object"), max_tokens=60, temperature=0.7)
    )
    assert output.text.startswith("{")
    if output.reason == "eos":
        assert isinstance(json.loads(output.text), dict)


@pytest.mark.parametrize(
    "pattern", ["[0-9]{3}-[0-9]{4}", "a/b\\/c", "(yes|no)!", "^whole$", "x*y", "line\nbreak", r"\p{Lu}[^a-z]\.", "é+"]
)
async def test_the_whole_output_matches_a_regular_expression(engine: Running, pattern: str) -> None:
    wanted = structured("regex", pattern)
    output = await generate(engine, request("Answer:", structured_output=wanted, max_tokens=40, temperature=1.0))
    python = pattern.replace(r"\p{Lu}", "[^\\W\\d_a-z]")
    assert re.fullmatch(python, output.text) or output.reason == "max_tokens"


@pytest.mark.parametrize(
    "options",
    [("yes", "no"), ("a", "ab", "abc"), ('"quoted"', "back\\slash", "a/b", "{}", "\n"), ("東京", "😀", "é")],
)
async def test_the_output_is_one_of_the_choices(engine: Running, options: tuple[str, ...]) -> None:
    found = set()
    for seed in range(6):
        output = await generate(
            engine,
            request("Pick: ", structured_output=structured("choice", "", *options), temperature=2.0, seed=seed),
        )
        assert output.reason == "eos"
        found.add(output.text)
    assert found <= set(options)


async def test_a_thousand_choices_are_fine(engine: Running) -> None:
    options = tuple(f"option number {number} of many" for number in range(1024))
    output = await generate(engine, request("Pick:", structured_output=structured("choice", "", *options)))
    assert output.text in options


async def test_log_probabilities_stay_the_models_own_under_a_grammar(engine: Running) -> None:
    free = await generate(engine, request("The capital of France is", logprobs=5, max_tokens=1))
    wanted = structured("choice", "", " Rome", " Madrid")
    bound = await generate(engine, request("The capital of France is", logprobs=5, structured_output=wanted))
    assert bound.text in (" Rome", " Madrid")
    assert bound.logprobs[0].top == free.logprobs[0].top
    assert bound.logprobs[0].logprob < free.logprobs[0].logprob


GRAMMARS = [
    ('root ::= "a"{2} [b-d]? ("x" | )', r"aa[b-d]?x?"),
    ('root ::= item+ # a comment\nitem ::= "- " [^\\n]{1,5} "\\n"', r"(- [^\n]{1,5}\n)+"),
    ('root ::= "<" (\n  [0-9a-f] |\n  "\\"" # quote\n){3} ">"', r'<[0-9a-f"]{3}>'),
    ('root ::= [a-z]* "x" [0-9]', r"[a-z]*x[0-9]"),
    ('root ::= ("ab" | "a" "bc")+ "."', r"(ab|abc)+\."),
    ('root ::= . "é" [\\u00e9-\\u00ea] "\\x41" [\\]\\[-]', r"[\s\S]é[éê]A[\]\[-]"),
    ("root ::= " + '"a"? ' * 5 + '"b"', r"a{0,5}b"),
    ('root ::= "" two-words{1,2}\ntwo-words ::= "hi "', r"(hi ){1,2}"),
    ('root ::= ("a"{2}){2} "b"{0} "c"{0,1}', r"aaaac?"),
]


@pytest.mark.parametrize(("grammar", "pattern"), GRAMMARS)
async def test_the_output_follows_a_gbnf_grammar(engine: Running, grammar: str, pattern: str) -> None:
    for seed in range(2):
        wanted = structured("grammar", grammar)
        output = await generate(
            engine, request(":", structured_output=wanted, temperature=1.5, seed=seed, max_tokens=30)
        )
        assert re.fullmatch(pattern, output.text) or output.reason == "max_tokens"


async def test_llama_cpps_own_grammar_for_json_gives_json(engine: Running) -> None:
    for seed in range(2):
        wanted = structured("grammar", JSON_GBNF)
        output = await generate(
            engine, request("JSON:", structured_output=wanted, seed=seed, temperature=1.0, max_tokens=60)
        )
        if output.reason == "eos":
            json.loads(output.text)
        else:
            assert output.text.startswith("{")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json_schema", "{"),
        ("json_schema", "5"),
        ("json_schema", "false"),
        ("json_schema", '{"type": "no such type"}'),
        ("json_schema", '{"$ref": "#/nowhere"}'),
        ("json_schema", '{"type": "string", "format": "no such format"}'),
        ("json_schema", '{"type": "string", "pattern": "a(?=b)"}'),
        ("json_schema", '{"type": "array", "uniqueItems": true}'),
        ("regex", "("),
        ("regex", "["),
        ("regex", "a\\"),
        ("regex", r"\bword\b"),
        ("regex", "a(?=b)"),
        ("regex", "(a)\\1"),
        ("regex", "[^\\s\\S]"),
        ("grammar", "root ::= foo"),
        ("grammar", 'root ::= "a'),
        ("grammar", '%llguidance {}\nstart: "a"'),
    ],
)
async def test_what_the_engine_cannot_compile_is_refused_before_anything_is_sent(
    engine: Running, kind: StructuredKind, value: str
) -> None:
    events = []
    with pytest.raises(InvalidRequest) as caught:
        events += [e async for e in engine.backend.generate(request(":", structured_output=structured(kind, value)))]
    assert [violation.field for violation in caught.value.violations] == [f"structured_output.{kind}"]
    assert events == []


HOSTILE = {
    "deep brackets": ("grammar", "root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000),
    "nested repetitions": ("grammar", 'root ::= (((("a"?){60}){60}){60}){60}'),
    "a million repetitions": ("grammar", 'root ::= "a"{1000000}'),
    "a chain of rules": ("grammar", "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(5000))),
    "a long literal": ("grammar", f'root ::= "{"a" * 70_000}"'),
    "a million repetitions in a pattern": ("regex", "a{1000000}"),
    "nested repetitions in a pattern": ("regex", "((a{100}){100}){100}"),
    "deep brackets in a pattern": ("regex", "(" * 30_000 + ")" * 30_000),
    "a deep schema": ("json_schema", '{"items":' * 5000 + "{}" + "}" * 5000),
    "a very deep schema": ("json_schema", "[" * 60_000),
    "a chain of references": (
        "json_schema",
        json.dumps(
            {
                "$defs": {f"d{i}": {"properties": {"c": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(1000)},
                "$ref": "#/$defs/d0",
            }
        ),
    ),
    "a schema with a hostile pattern": ("json_schema", '{"type": "string", "pattern": "(a{1000}){1000}"}'),
    "a huge list of choices": ("choice", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_constraints_are_refused_and_the_engine_lives(engine: Running, name: str) -> None:
    kind, value = HOSTILE[name]
    options = tuple("x" * 100 + str(number) for number in range(1000)) if kind == "choice" else ()
    with pytest.raises(InvalidRequest):
        await generate(engine, request(":", structured_output=StructuredOutput(kind, value, options)))  # type: ignore[arg-type]
    assert (await generate(engine, request(max_tokens=1))).text == " Paris"


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= s\ns ::= "a" s "b" | "a" s "c" | "x"',
        'root ::= e\ne ::= t "+" e | t "-" e | t\nt ::= "(" e ")" | [0-9]+',
        'root ::= ("a"?){200}',
    ],
)
async def test_grammars_with_many_readings_do_not_hang_the_engine(engine: Running, grammar: str) -> None:
    bias = {}
    for text in ("a", "((", "("):
        (token, *_) = await engine.backend.tokenize(text, add_special=False)
        bias[token.id] = 50.0
    wanted = request(":", structured_output=structured("grammar", grammar), logit_bias=bias, max_tokens=25)
    output = await generate(engine, wanted)
    assert output.count == 25
    assert set(output.text) <= {"a", "("}


async def test_a_grammar_that_the_engine_gives_up_in_mid_output_is_a_fault(engine: Running) -> None:
    (token,) = await engine.backend.tokenize("a", add_special=False)
    wanted = request(
        ":",
        structured_output=structured("grammar", 'root ::= (("a"{0,50}){0,50}){0,3}'),
        logit_bias={token.id: 50.0},
        max_tokens=100,
    )
    with pytest.raises(EngineFault, match="gave up the grammar after") as caught:
        await generate(engine, wanted)
    assert caught.value.reason == "GRAMMAR_TOO_COMPLEX"
    await becomes_idle(engine)


async def test_a_bias_for_end_tokens_does_not_break_a_grammar(engine: Running) -> None:
    bias = dict.fromkeys(range(17), 100.0)
    wanted = request(":", structured_output=structured("regex", "[0-9]{4}"), logit_bias=bias)
    assert re.fullmatch("[0-9]{4}", (await generate(engine, wanted)).text)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(option=st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8))
async def test_any_text_can_be_the_only_choice_or_the_only_sentence(engine: Running, option: str) -> None:
    literal = "".join(f"\\U{ord(character):08x}" for character in option)
    for wanted in (structured("choice", "", option), structured("grammar", f'root ::= "{literal}"')):
        output = await generate(engine, request(":", structured_output=wanted, max_tokens=64))
        assert output.text == option
