import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellhousing_llamacpp.gbnf import GrammarError, lark_of


@pytest.mark.parametrize(
    ("gbnf", "lark"),
    [
        ('root ::= "ab"', 'start: "a" "b"'),
        ('root ::= "a" | "b"', 'start: "a" | "b"'),
        ("root ::= [a-z0]", r"start: /[\x{61}-\x{7A}\x{30}-\x{30}]/"),
        (r"root ::= [^\"\\\]\x41]", r"start: /[^\x{22}-\x{22}\x{5C}-\x{5C}\x{5D}-\x{5D}\x{41}-\x{41}]/"),
        ("root ::= .", r"start: /[\x{0}-\x{10FFFF}]/"),
        ('root ::= "a"?', 'start: g1\ng1: "a"{0,1}'),
        ('root ::= "a"*', 'start: g1\ng1: "a"{0,}'),
        ('root ::= "a"+', 'start: g1\ng1: "a"{1,}'),
        ('root ::= "ab"{2}', 'start: g2\ng1: "a" "b"\ng2: g1{2,2}'),
        ('root ::= "a"{2,}', 'start: g1\ng1: "a"{2,}'),
        ('root ::= "a" {2,3}', 'start: g1\ng1: "a"{2,3}'),
        ('root ::= "a"{0} "b"', 'start: "b"'),
        ('root ::= ""', 'start: ""'),
        ('root ::= ("a" | ) "b"', 'start: g1 "b"\ng1: "a" | ""'),
        ('root ::= my-rule "b"\nmy-rule ::= "a"', 'start: r1 "b"\nr1: "a"'),
        ('# first\nroot ::= "a" # last\n', 'start: "a"'),
        ('root ::= (\n  "a" |\n  "b"\n)', 'start: g1\ng1: "a" | "b"'),
        ('root ::=\n  "a" |\n  "b"', 'start: "a" | "b"'),
        (r'root ::= "\"\u00e9\U0001F600\n"', r'start: "\"" "\u00e9" "\ud83d\ude00" "\n"'),
    ],
)
def test_grammars_are_rewritten(gbnf: str, lark: str) -> None:
    assert lark_of(gbnf) == lark


@pytest.mark.parametrize(
    ("gbnf", "told"),
    [
        ("", "expected a rule named 'root', found none"),
        ('start ::= "a"', "expected a rule named 'root', found none"),
        ("root ::= other", "expected a rule named 'other', found none"),
        ('root ::= "a"\nroot ::= "b"', "found a second on line 2"),
        ('root "a"', "line 1: expected '::=' after the rule name 'root', found '\"'"),
        ('root ::= "a', "at the end of a literal, found the end"),
        ("root ::= [a", "at the end of a class, found the end"),
        ("root ::= []", "at least one character"),
        ("root ::= [z-a]", "from a lower to a higher"),
        ('root ::= ("a"', "expected ')' at the end of a group, found the end"),
        ('root ::= "a")', "expected a symbol, '|' or the end of the line, found ')'"),
        ('root ::= "a"{2', "a repetition such as {2}"),
        ('root ::= "a"{3,2}', "expected bounds in order, found {3,2}"),
        (r'root ::= "\q"', "expected an escape"),
        (r'root ::= "\x4"', "expected an escape"),
        (r'root ::= "\ud800"', "stands for a character"),
        ("root ::= <think>", "token references are not supported"),
        ('root ::= "a"\n\n= "b"', "line 3: expected the name of a rule, found '='"),
        ("root ::= " + "(" * 65, "at most 64 deep"),
        ('root ::= "a"{10001}', "at most 10000 symbols"),
        ('root ::= ("a"{101}){101}', "at most 10000 symbols"),
        ("root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(1001)), "at most 1000 rules"),
    ],
)
def test_wrong_grammars_are_refused_with_a_place_and_what_was_expected(gbnf: str, told: str) -> None:
    with pytest.raises(GrammarError) as caught:
        lark_of(gbnf)
    assert told in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(list('ro:=|()[]{}<>"\\-^.*+?#0 2,axu\n')), max_size=60))
def test_any_text_is_rewritten_or_refused(text: str) -> None:
    try:
        assert lark_of("root ::= " + text).startswith("start: ")
    except GrammarError as error:
        assert str(error)  # noqa: PT017 - the text decides whether there is an error
