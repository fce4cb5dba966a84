"""Whole characters and stop strings, whatever way the engine cuts its output."""

from hypothesis import given
from hypothesis import strategies as st

from bellhousing.events import Delta
from bellhousing.requests import Stopping
from bellhousing.sequence import Sequence, StopMatcher

ALPHABET = st.text("abc", max_size=24)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


def run(pieces: list[str | bytes], stopping: Stopping, min_tokens: int = 0) -> tuple[str, list[int], Sequence]:
    """Return the text and ids delivered for pieces of one token each, and the sequence."""
    sequence = Sequence(0, stopping, min_tokens)
    delivered: list[Delta] = []
    for number, piece in enumerate(pieces):
        delivered += sequence.push(Delta(piece, (number,)))
        if sequence.has_stopped:
            break
    else:
        delivered += sequence.finish()
    assert all(d.token_count == len(d.token_ids) for d in delivered)
    return "".join(str(d.text) for d in delivered), [i for d in delivered for i in d.token_ids], sequence


def first_stop(text: str, strings: list[str]) -> tuple[str, str] | None:
    """The definition, character by character: the text before the stop that is complete first, and that stop."""
    for end in range(1, len(text) + 1):
        matches = [s for s in strings if text[:end].endswith(s)]
        if matches:
            longest = max(matches, key=len)
            return text[: end - len(longest)], longest
    return None


def cut(text: str, sizes: list[int]) -> list[str | bytes]:
    pieces: list[str | bytes] = []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    return [*pieces, text]


@given(ALPHABET, STOPS)
def test_a_stop_string_is_found_as_the_definition_says(text: str, strings: list[str]) -> None:
    delivered, ids, sequence = run(list(text), Stopping(tuple(strings)))
    expected = first_stop(text, strings)
    if expected is None:
        assert (delivered, sequence.reason) == (text, None)
        assert ids == list(range(len(text)))
    else:
        assert (delivered, sequence.stop_string) == expected
        assert len(ids) == sequence.tokens


@given(ALPHABET, STOPS, st.lists(st.integers(0, 5), max_size=6))
def test_the_text_does_not_depend_on_how_tokens_cut_it(text: str, strings: list[str], sizes: list[int]) -> None:
    by_character, _, one = run(list(text), Stopping(tuple(strings)))
    by_piece, _, other = run(cut(text, sizes), Stopping(tuple(strings)))
    assert (by_character, one.stop_string) == (by_piece, other.stop_string)


@given(ALPHABET, STOPS)
def test_no_delivered_text_is_ever_the_beginning_of_a_stop_that_comes(text: str, strings: list[str]) -> None:
    sequence = Sequence(0, Stopping(tuple(strings)))
    final, _, _ = run(list(text), Stopping(tuple(strings)))
    delivered = ""
    for number, character in enumerate(text):
        delivered += "".join(str(d.text) for d in sequence.push(Delta(character, (number,))))
        assert final.startswith(delivered)
        if sequence.has_stopped:
            break


def test_the_stop_string_is_delivered_when_asked_for() -> None:
    delivered, _, sequence = run(["one", " tw", "o three"], Stopping(("two",), include_stop=True))
    assert delivered == "one two"
    assert sequence.stop_string == "two"


def test_a_stop_token_ends_the_sequence_and_its_text_is_left_out() -> None:
    delivered, ids, sequence = run(["a", "b", "c"], Stopping(token_ids=(1,)))
    assert (delivered, ids, sequence.reason, sequence.stop_token_id) == ("a", [0, 1], "stop_token", 1)


def test_nothing_stops_before_the_fewest_tokens() -> None:
    delivered, _, _ = run(["x", "x", "x", "x"], Stopping(("x",)), min_tokens=3)
    assert delivered == "xx"


@given(st.text(max_size=20), st.randoms(use_true_random=False))
def test_characters_split_over_tokens_arrive_whole(text: str, random: object) -> None:
    raw = text.encode()
    pieces: list[str | bytes] = [raw[i : i + 1] for i in range(len(raw))]
    sequence = Sequence(0, Stopping())
    deltas = [d for number, piece in enumerate(pieces) for d in sequence.push(Delta(piece, (number,)))]
    deltas += sequence.finish()
    assert "".join(str(d.text) for d in deltas) == text
    assert [i for d in deltas for i in d.token_ids] == list(range(len(raw)))
    assert not sequence.cut_character


def test_a_character_cut_at_the_end_keeps_its_ids_and_is_flagged() -> None:
    sequence = Sequence(0, Stopping())
    deltas = list(sequence.push(Delta("é".encode()[:1], (7,))))
    assert deltas == []
    deltas = list(sequence.finish())
    assert [(d.text, d.token_ids) for d in deltas] == [("", (7,))]
    assert sequence.cut_character


def test_bytes_that_are_no_character_become_the_replacement_character() -> None:
    delivered, ids, _ = run([b"a", b"\xff", b"b"], Stopping())
    assert (delivered, ids) == ("a\ufffdb", [0, 1, 2])


def test_the_longest_possible_beginning_of_a_stop_is_undecided() -> None:
    matcher = StopMatcher(("abcd", "bcx"))
    assert [matcher.undecided(t) for t in ("", "xa", "xabc", "zbc", "q")] == [0, 1, 3, 2, 0]
