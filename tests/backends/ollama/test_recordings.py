"""Every recorded exchange of generation through the real client: each line is mapped, or an error by name."""

import json
from contextlib import aclosing

import pytest

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unsupported,
)
from bellhousing.events import Delta, Event, Finished, Started
from bellhousing.requests import Chat, ChatMessage, GenerationRequest, Sampling, StructuredOutput
from bellhousing_ollama.api import Api
from bellhousing_ollama.errors import error_of
from bellhousing_ollama.generation import Stream
from tests.engines.recordings import Recording, recording, recordings
from tests.engines.replay import replaying

GENERATING = ("/api/generate", "/api/chat")
WITHOUT_END = "ENGINE_STREAM_BROKEN"
NOT_GENERATIONS = ("load", "unload")


def streams() -> list[Recording]:
    return [
        one
        for one in recordings("ollama")
        if one.path in GENERATING and one.method == "POST" and one.status == 200 and not one.is_cut
    ]


def refusals() -> list[Recording]:
    return [one for one in recordings("ollama") if one.path.startswith("/api") and one.status >= 400]


def request_of(one: Recording) -> GenerationRequest:
    body = one.body
    options = body.get("options", {})
    prompt = body.get("prompt", "") if "messages" not in body else Chat((ChatMessage("user", "x"),))
    top = body.get("top_logprobs", 0) if body.get("logprobs") else None
    limit = options.get("num_predict", 0)
    form = StructuredOutput("json_object") if body.get("format") else None
    sampling = Sampling(max_tokens=int(limit) if isinstance(limit, int | float) and limit > 0 else None)
    return GenerationRequest("r", prompt, sampling, logprobs=top, structured_output=form)


async def replayed(one: Recording) -> list[Event]:
    request = request_of(one)
    found: list[Event] = []
    async with replaying(one) as (server, _):
        api = Api(server.url)
        try:
            async with (
                api.lines(one.path, one.body, request) as lines,
                aclosing(Stream(request, 4096).events(lines)) as events,  # type: ignore[type-var]
            ):
                async for event in events:
                    found.append(event)
        finally:
            await api.close()
    return found


def last_line(one: Recording) -> dict[str, object]:
    lines = one.answer.decode().splitlines()
    return dict(json.loads(lines[-1])) if lines else {}


@pytest.mark.parametrize("one", streams(), ids=lambda one: one.name)
async def test_a_recorded_answer_is_events_or_an_error_by_name(one: Recording) -> None:
    last = last_line(one)
    is_whole = last.get("done") and last["done_reason"] not in NOT_GENERATIONS
    if not is_whole:
        with pytest.raises(BellhousingError) as caught:
            await replayed(one)
        assert isinstance(caught.value, EngineFault | EngineUnavailable)
        return
    events = await replayed(one)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    deltas = [event for event in events if isinstance(event, Delta)]
    ends_by_eos = last["done_reason"] == "stop"
    # A stop string that Ollama cut away is in no count of frames: those recordings sent one, and we never do.
    assert sum(delta.token_count for delta in deltas) in {
        int(str(last["eval_count"])),
        int(str(last["eval_count"])) - ends_by_eos,
    }
    assert events[-1].prompt_tokens == last["prompt_eval_count"]


@pytest.mark.parametrize("name", ["repeat_guard_stream_ends_without_done", "invalid_utf8_generate_stream_empty_body"])
async def test_a_stream_without_its_last_line_is_a_fault(name: str) -> None:
    with pytest.raises(EngineFault) as caught:
        await replayed(recording("ollama", name))
    assert caught.value.reason == WITHOUT_END


async def test_an_error_line_inside_a_stream_is_the_error_it_tells() -> None:
    with pytest.raises(EngineUnavailable, match="the runner of the model died") as caught:
        await replayed(recording("ollama", "runner_killed_mid_stream"))
    assert caught.value.reason == "RUNNER_DIED"


async def test_tokens_held_back_inside_characters_are_counted_at_the_end() -> None:
    events = await replayed(recording("ollama", "unicode_stream"))
    deltas = [event for event in events if isinstance(event, Delta)]
    assert deltas[-1].text == ""
    assert sum(delta.token_count for delta in deltas) == 24


async def test_log_probabilities_come_with_their_bytes_and_alternatives() -> None:
    events = await replayed(recording("ollama", "generate_logprobs_stream"))
    first = next(event for event in events if isinstance(event, Delta))
    assert first.logprobs[0].token == b" Paris"
    assert [top.token for top in first.logprobs[0].top] == [b" Paris", b" the", b" London"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("generate_unknown_model_404", NotFound),
        ("overflow_generate_truncate_false_shift_false", ContextOverflow),
        ("queue_full_cold_start_503", Overloaded),
        ("host_header_not_local_403", PermissionDenied),
        ("embed_model_without_pooling_501", Unsupported),
        ("adapter_generate_wrong_dim_500", EngineUnavailable),
        ("runner_killed_mid_nonstream", EngineUnavailable),
        ("generate_prompt_wrong_type_400", InvalidRequest),
        ("generate_option_wrong_type_int_500", EngineFault),
        ("chat_format_invalid_500", InvalidRequest),
    ],
)
def test_a_refusal_is_the_error_that_fits(name: str, kind: type[BellhousingError]) -> None:
    one = recording("ollama", name)
    request = request_of(one) if one.path in GENERATING else None
    assert type(error_of(one.status, one.answer, request)) is kind


@pytest.mark.parametrize("one", refusals(), ids=lambda one: one.name)
def test_every_recorded_refusal_says_what_ollama_said(one: Recording) -> None:
    found = error_of(one.status, one.answer)
    assert isinstance(found, BellhousingError)
    assert found.engine_code == str(one.status) or isinstance(found, ContextOverflow | NotFound)


def test_an_overflow_tells_both_lengths() -> None:
    one = recording("ollama", "overflow_generate_truncate_false_shift_false")
    found = error_of(one.status, one.answer)
    assert isinstance(found, ContextOverflow)
    assert (found.prompt_tokens, found.context_length) == (370, 256)
