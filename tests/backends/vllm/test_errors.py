"""From what vLLM raises and says to the contract's errors."""

from types import SimpleNamespace

import pytest

from bellhousing.errors import EngineFault, EngineUnavailable, InvalidRequest, Overloaded
from bellhousing.events import FinishReason
from bellhousing.requests import GenerationRequest, Sampling, StructuredOutput
from bellhousing_vllm.endings import is_inside_character
from bellhousing_vllm.errors import error_of
from bellhousing_vllm.output import Translation
from bellhousing_vllm.sampling import sampling_fields

HALF = 7
"""A token that is the first byte of a character of four."""

REQUEST = GenerationRequest("id", (1,), Sampling(max_tokens=5))


class EngineDeadError(Exception):
    """Named as vLLM's."""


class QueueOverflowError(Exception):
    """Named as vLLM's."""


def test_a_dead_engine_is_unavailable_and_a_full_queue_overloaded() -> None:
    dead = error_of(EngineDeadError("gone"), REQUEST)
    assert isinstance(dead, EngineUnavailable)
    assert dead.reason == "ENGINE_DIED"
    assert dead.retry_after
    assert isinstance(error_of(QueueOverflowError(), REQUEST), Overloaded)


@pytest.mark.parametrize(
    ("message", "structured", "field"),
    [
        ("min_tokens must be less", None, "sampling.min_tokens"),
        ("no such regex", StructuredOutput("regex", "["), "structured_output.regex"),
        ("too long", None, "text"),
    ],
)
def test_what_vllm_refuses_names_the_field(message: str, structured: StructuredOutput | None, field: str) -> None:
    found = error_of(ValueError(message), GenerationRequest("id", (1,), structured_output=structured))
    assert isinstance(found, InvalidRequest)
    assert [violation.field for violation in found.violations] == [field]


def test_anything_else_is_a_fault_with_its_cause() -> None:
    found = RuntimeError("EngineCore failed")
    found.__cause__ = KeyError("why")
    error = error_of(found, REQUEST)
    assert isinstance(error, EngineFault)
    assert "KeyError: 'why'" in error.message


VOCABULARY = SimpleNamespace(decode=lambda ids: bytes(0xF0 if i == HALF else 0x61 for i in ids))


def output(reason: str | None, stop_reason: int | None = None) -> SimpleNamespace:
    completion = SimpleNamespace(
        index=0, token_ids=[5], text="a", logprobs=None, finish_reason=reason, stop_reason=stop_reason
    )
    return SimpleNamespace(prompt_token_ids=[1], num_cached_tokens=0, prompt_logprobs=None, outputs=[completion])


@pytest.mark.parametrize(
    ("reason", "stop_reason", "room", "expected"),
    [
        ("stop", None, 9, "eos"),
        ("length", None, 9, "max_tokens"),
        ("length", None, 3, "context_length"),
        ("repetition", None, 9, "repetition"),
    ],
)
def test_every_ending_of_vllm_has_a_reason(
    reason: str, stop_reason: int | None, room: int, expected: FinishReason
) -> None:
    translation = Translation(REQUEST, VOCABULARY, frozenset({2}), room)  # type: ignore[arg-type]
    *_, finished = translation.events(output(reason, stop_reason))
    assert finished.sequences[0].reason == expected  # type: ignore[union-attr]


@pytest.mark.parametrize("reason", ["abort", "error", "something new"])
def test_an_ending_that_is_none_is_a_fault(reason: str) -> None:
    translation = Translation(REQUEST, VOCABULARY, frozenset({2}), 9)  # type: ignore[arg-type]
    with pytest.raises(EngineFault, match=f"vLLM ended a sequence with '{reason}'"):
        list(translation.events(output(reason)))


@pytest.mark.parametrize("token", [5, HALF])
def test_an_end_inside_a_character_is_told(token: int) -> None:
    ended = output("length")
    ended.outputs[0].token_ids = [5, token]
    *_, finished = Translation(REQUEST, VOCABULARY, frozenset({2}), 9).events(ended)  # type: ignore[arg-type]
    assert finished.sequences[0].cut_character is (token == HALF)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["a", "é", "한", "😀"])
def test_every_part_of_a_character_but_the_whole_is_inside_it(text: str) -> None:
    whole = text.encode()
    assert not is_inside_character(b"x" + whole)
    assert all(is_inside_character(b"x" + whole[:length]) for length in range(1, len(whole)))
    assert not is_inside_character(b"")


def test_limits_never_exceed_the_room_behind_the_prompt() -> None:
    fields = sampling_fields(GenerationRequest("id", (1,), Sampling(max_tokens=100, min_tokens=50)), room=10)
    assert (fields["max_tokens"], fields["min_tokens"]) == (10, 10)
    assert sampling_fields(GenerationRequest("id", (1,)), room=10)["max_tokens"] == 10
