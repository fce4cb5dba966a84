from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellhousing.gguf import read_header
from bellhousing_llamacpp.vocabulary import Vocabulary, is_cut
from tests.backends.llamacpp.conftest import Running


@pytest.fixture(scope="module")
def vocabulary(model_path: Path) -> Vocabulary:
    return Vocabulary(read_header(model_path).pieces or ())


PIECES = (b"a", b" ", b"\xf0", b"\x9f", b"\x98", b"\x80", b"\xf0\x9f", b"\x9f\x98", b" \xf0\x9f", b"\xc3", b"\xa9")
SMALL = Vocabulary(PIECES)


def ids(*pieces: bytes) -> tuple[int, ...]:
    return tuple(PIECES.index(piece) for piece in pieces)


@pytest.mark.parametrize(
    "tokens",
    [
        ids(b"\xc3", b"\xa9"),
        ids(b"\xf0\x9f", b"\x98", b"\x80"),
        ids(b"\xf0", b"\x9f", b"\x98", b"\x80"),
        ids(b" \xf0\x9f", b"\x98", b"\x80"),
    ],
)
def test_hidden_tokens_are_recovered_where_there_is_one_way(tokens: tuple[int, ...]) -> None:
    vocabulary = Vocabulary([piece if piece != b"\x9f\x98" else b"?" for piece in PIECES])
    assert vocabulary.recover(vocabulary.decode(tokens), tokens[-1], len(tokens)) == tokens


def test_hidden_tokens_that_could_be_others_are_not_guessed() -> None:
    assert SMALL.recover("😀".encode(), PIECES.index(b"\x80"), 3) == ()


def test_a_token_that_would_have_been_sent_is_no_hidden_one() -> None:
    space = " 😀".encode()
    assert SMALL.recover(space, PIECES.index(b"\x80"), 4) == ()
    assert ids(b" ", b"\xf0\x9f", b"\x98", b"\x80") not in SMALL._splits(space, 0, 4, 3)


def test_text_that_does_not_end_with_the_last_token_recovers_nothing() -> None:
    assert SMALL.recover(b"\xc3\xa9", PIECES.index(b"a"), 2) == ()


@given(st.text(min_size=1, max_size=20))
def test_whole_text_is_not_cut_and_a_part_of_its_last_character_is(text: str) -> None:
    assert not is_cut(text.encode())
    last = text[-1].encode()
    for size in range(1, len(last)):
        assert is_cut(text[:-1].encode() + last[:size])


@pytest.mark.asyncio(loop_scope="session")
async def test_the_pieces_of_the_file_are_those_of_the_engine(engine: Running, vocabulary: Vocabulary) -> None:
    text = "Größe 東京 😀🥰 <|im_start|>def f(x):\n\treturn  x # \x00\u00ad é"
    tokens = await engine.backend.tokenize(text, add_special=False)
    assert [vocabulary.pieces[token.id] for token in tokens] == [token.piece for token in tokens]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_recovered_ids_are_the_true_ones(vocabulary: Vocabulary, data: st.DataObject) -> None:
    """Cut a character in any way that the vocabulary allows, and see what is recovered from what the engine sends."""
    text = data.draw(st.characters(min_codepoint=0x80, exclude_categories=["Cs"])).encode()
    tokens: list[int] = []
    start = 0
    while start < len(text):
        stops = [stop for stop in range(start + 1, len(text) + 1) if vocabulary.ids_of(text[start:stop])]
        if not stops:
            return
        stop = data.draw(st.sampled_from(stops))
        tokens.append(data.draw(st.sampled_from(list(vocabulary.ids_of(text[start:stop])))))
        start = stop
    assert vocabulary.recover(text, tokens[-1], len(tokens)) in ((), tuple(tokens))
