"""Tokenising and detokenising."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bellhousing.errors import InvalidRequest
from bellhousing.requests import Chat, ChatMessage
from bellhousing_simulator import vocabulary
from bellhousing_simulator.vocabulary import EOS, FIRST_BYTE, PIECES, SYMBOLS, detokenise, render, symbol, tokenise


@given(st.text())
def test_any_text_comes_back_byte_for_byte(text: str) -> None:
    assert detokenise(tokenise(text)) == text.encode()


@given(st.binary())
def test_any_bytes_come_back(raw: bytes) -> None:
    assert detokenise(tokenise(raw)) == raw


@given(st.lists(st.sampled_from(SYMBOLS)))
def test_a_text_of_symbols_needs_no_byte_tokens(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    assume(b" \xf0\x9f\x99" not in text)  # a longer symbol covers the space and half of the face: see below
    assert all(token < EOS for token in tokenise(text))


def test_what_the_longest_symbol_leaves_of_a_character_falls_back_to_bytes() -> None:
    assert [PIECES[token] for token in tokenise(" 🙂")] == [b" \xf0\x9f", b"\x99", b"\x82"]


def test_there_are_64_distinct_symbols_an_end_token_and_256_bytes() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS) == EOS == 64
    assert PIECES[EOS] == b""
    assert PIECES[FIRST_BYTE:] == tuple(bytes([value]) for value in range(256))
    assert len(PIECES) == vocabulary.VOCABULARY_SIZE == 321


def test_the_longest_symbol_that_fits_is_taken() -> None:
    assert tokenise(" then") == (symbol(" the"), symbol("n"))


def test_a_character_can_be_split_over_several_tokens() -> None:
    assert [PIECES[token] for token in tokenise("é😀 😎")] == [
        *(b"\xc3", b"\xa9"),
        *(b"\xf0\x9f", b"\x98", b"\x80"),
        *(b" \xf0\x9f", b"\x98", b"\x8e"),
    ]


def test_what_no_symbol_covers_falls_back_to_bytes() -> None:
    assert tokenise("Z") == (FIRST_BYTE + ord("Z"),)


def test_an_unknown_id_is_refused_with_its_value() -> None:
    with pytest.raises(InvalidRequest, match="token ids below 321, found 321"):
        detokenise([0, 321])


def test_every_token_stands_for_a_state_of_the_chain() -> None:
    assert len(vocabulary.STATES) == len(PIECES)
    assert set(vocabulary.STATES) == set(range(EOS + 1))


def test_deltas_carry_text_where_the_token_is_whole_characters_and_bytes_elsewhere() -> None:
    deltas = vocabulary.deltas(2)
    assert deltas[symbol("🙂")].text == "🙂"
    assert deltas[symbol(b"\xf0\x9f")].text == b"\xf0\x9f"
    assert {delta.index for delta in deltas} == {2}
    assert deltas is vocabulary.deltas(2)


def test_a_chat_is_a_line_for_each_message_and_an_open_turn() -> None:
    chat = Chat((ChatMessage("system", "be brief"), ChatMessage("user", "hi", name="ann")))
    assert render(chat) == "system: be brief\nuser (ann): hi\nassistant:"


def test_a_chat_can_be_rendered_without_an_open_turn() -> None:
    assert render(Chat((ChatMessage("user", "hi"),), add_generation_prompt=False)) == "user: hi\n"
