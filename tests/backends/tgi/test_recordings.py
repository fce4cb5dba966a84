"""Every recorded exchange of a native route, read by the real client code over a real socket."""

import json
from typing import Any

import pytest

from bellhousing.backend import EngineLoad
from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
)
from bellhousing.events import Delta, Finished, Started
from bellhousing.requests import GenerationRequest, Sampling, StructuredOutput
from bellhousing.testing import serving
from bellhousing_tgi import AttachedTgiBackend
from bellhousing_tgi.errors import BY_TYPE, error_of
from bellhousing_tgi.limits import Limits
from bellhousing_tgi.metrics import load_of
from bellhousing_tgi.prompts import SAMPLE, pieces
from tests.backends.tgi.conftest import answers_of
from tests.engines.recordings import Recording, recording, recordings
from tests.engines.replay import replaying

PLAIN = GenerationRequest("recorded", "x", Sampling(max_tokens=1))
ALL = list(recordings("tgi"))
STREAMS = [one for one in ALL if one.path == "/generate_stream"]
REFUSED = [one for one in ALL if one.status >= 400 and one.path in {"/generate", "/tokenize", "/health"}]
UNTYPED = {
    400: EngineFault,
    401: PermissionDenied,
    405: EngineFault,
    413: InvalidRequest,
    415: EngineFault,
    422: EngineFault,
}


def frames(one: Recording) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in one.answer.decode().splitlines() if line.startswith("data:")]


def by_name(one: Recording) -> str:
    return one.name


def ends_with_details(one: Recording) -> bool:
    return bool(frames(one)[-1].get("details"))


COMPLETE = [one for one in STREAMS if ends_with_details(one)]
FAILED = [one for one in STREAMS if "error" in frames(one)[-1]]
SILENT = [one for one in STREAMS if one not in COMPLETE and one not in FAILED]


@pytest.mark.parametrize("one", COMPLETE, ids=by_name)
async def test_a_recorded_generation_gives_its_text_its_tokens_and_its_end(one: Recording) -> None:
    events = await answers_of(one, GenerationRequest("recorded", "x", Sampling(max_tokens=1), logprobs=0))
    last = frames(one)[-1]
    is_ended = last["details"]["finish_reason"] == "eos_token"
    tokens = [frame["token"] for frame in frames(one)][: -1 if is_ended else None]
    deltas = [event for event in events if isinstance(event, Delta)]
    end = events[-1]
    assert isinstance(events[0], Started)
    assert isinstance(end, Finished)
    assert [delta.token_ids for delta in deltas] == [(token["id"],) for token in tokens]
    assert [entry.logprob for delta in deltas for entry in delta.logprobs] == [token["logprob"] for token in tokens]
    assert "".join(str(delta.text) for delta in deltas).startswith(last["generated_text"])
    assert end.prompt_tokens == last["details"]["input_length"]
    assert end.sequences[0].reason == ("eos" if is_ended else "max_tokens")


@pytest.mark.parametrize("one", FAILED, ids=by_name)
async def test_a_recorded_error_in_a_stream_is_the_error_of_its_type(one: Recording) -> None:
    last = frames(one)[-1]
    assert last["error_type"] in BY_TYPE
    with pytest.raises(BellhousingError) as raised:
        await answers_of(one, PLAIN)
    expected = BY_TYPE[last["error_type"]](last["error"], last["error_type"], PLAIN, "tgi-attached")
    assert (type(raised.value), raised.value.message) == (type(expected), expected.message)


@pytest.mark.parametrize("one", SILENT, ids=by_name)
async def test_a_recorded_stream_without_details_or_cut_is_never_a_success(one: Recording) -> None:
    with pytest.raises((EngineFault, EngineUnavailable)):
        await answers_of(one, PLAIN)


def test_no_recorded_stream_is_left_out() -> None:
    assert len(STREAMS) == 34
    assert {one.name for one in SILENT if one.is_cut} == {"client_disconnect_midstream"}
    without = [one for one in SILENT if not one.is_cut]
    assert all("details" not in one.body["parameters"] for one in without)


async def test_text_that_the_router_loses_at_a_cut_character_is_kept() -> None:
    events = await answers_of(recording("tgi", "stream_cut_mid_utf8"), PLAIN)
    assert "".join(str(event.text) for event in events if isinstance(event, Delta)) == "お"
    assert frames(recording("tgi", "stream_cut_mid_utf8"))[-1]["generated_text"] == ""


async def test_the_end_token_is_left_out_and_alternatives_come_best_first() -> None:
    events = await answers_of(recording("tgi", "prefix_cold"), PLAIN)
    assert [type(event) for event in events] == [Started, Finished]
    asked = GenerationRequest("recorded", "x", Sampling(max_tokens=4), logprobs=2)
    events = await answers_of(recording("tgi", "stream_top_n_tokens"), asked)
    tops = [entry.top for event in events if isinstance(event, Delta) for entry in event.logprobs]
    assert [len(top) for top in tops] == [2, 2, 2, 2]
    assert all(top[0].logprob >= top[1].logprob for top in tops)


async def test_an_output_that_ends_before_max_tokens_filled_the_context() -> None:
    events = await answers_of(recording("tgi", "launcher_sigterm_stream"), PLAIN, room=0)
    assert isinstance(events[-1], Finished)
    assert events[-1].sequences[0].reason == "context_length"


@pytest.mark.parametrize("one", REFUSED, ids=by_name)
def test_a_recorded_refusal_is_the_error_of_its_type_or_status(one: Recording) -> None:
    error = error_of(one.status, one.answer, PLAIN, "tgi-attached")
    text = one.answer.decode()
    if '"error_type"' in text:
        kind = json.loads(text)["error_type"]
        assert type(error) is type(BY_TYPE[kind](json.loads(text)["error"], kind, PLAIN, "tgi-attached"))
    else:
        assert type(error) is UNTYPED[one.status]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("err_top_p_one", "sampling.top_p"),
        ("err_typical_p", "sampling.typical_p"),
        ("err_temperature_zero", "sampling.temperature"),
        ("err_repetition_penalty", "sampling.repetition_penalty"),
        ("err_frequency_penalty", "sampling.frequency_penalty"),
        ("err_max_new_tokens_zero", "sampling.max_tokens"),
        ("err_top_n_tokens", "logprobs.top"),
        ("err_empty_inputs", "text"),
        ("err_grammar_invalid_json_schema", "structured_output.json_schema"),
        ("err_payload_too_large", "text"),
    ],
)
def test_a_refusal_names_the_field_of_the_contract(name: str, field: str) -> None:
    one = recording("tgi", name)
    asked = GenerationRequest("x", "x", structured_output=StructuredOutput("json_schema", "{}"))
    error = error_of(one.status, one.answer, asked, "tgi-attached")
    assert isinstance(error, InvalidRequest)
    assert error.violations[0].field == field


@pytest.mark.parametrize(("name", "found"), [("err_input_too_long", (1501, 1024)), ("err_total_tokens", (5, 512))])
def test_a_prompt_that_is_too_long_tells_both_lengths(name: str, found: tuple[int, int]) -> None:
    one = recording("tgi", name)
    error = error_of(one.status, one.answer, PLAIN, "tgi-attached")
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_length) == found


def test_an_overloaded_router_says_when_to_come_back() -> None:
    one = recording("tgi", "overloaded_generate")
    error = error_of(one.status, one.answer, PLAIN, "tgi-attached")
    assert isinstance(error, Overloaded)
    assert error.retry_after


async def test_a_router_is_described_from_recorded_answers() -> None:
    names = ["launcher_info", "health_ok", "tokenize_empty", "tokenize", "chat_tokenize"]
    async with replaying(*(recording("tgi", name) for name in names)) as (server, replay):
        async with serving(AttachedTgiBackend, options={"url": server.url}, model={"name": "m"}) as served:
            info = served.model.info
        assert {asked.path for asked in replay.asked} == {"/info", "/health", "/tokenize", "/chat_tokenize"}
    assert (info.engine_version, info.context_length, info.max_running) == ("3.3.6-dev0", 8192, 128)
    assert {"text", "chat"} <= info.capabilities.parameters.keys()
    assert info.capabilities.tokenize


def test_recorded_tokens_have_the_bytes_of_the_text() -> None:
    one = recording("tgi", "tokenize")
    found = pieces(SAMPLE, json.loads(one.answer))
    assert one.body == {"inputs": SAMPLE}
    assert b"".join(token.piece for token in found) == SAMPLE.encode()
    assert [token.piece for token in found[6:9]] == [b" \xe6", b"\x97", b"\xa5"]
    assert found[-1].piece == " 🙂".encode()


@pytest.mark.parametrize("one", [one for one in ALL if one.path == "/metrics"], ids=by_name)
def test_recorded_metrics_are_read(one: Recording) -> None:
    load = load_of(one.answer.decode())
    text = one.answer.decode()
    assert (load.running is not None) == ("\ntgi_batch_current_size " in text)
    assert (load.waiting is not None) == ("\ntgi_queue_size " in text)


def test_a_router_that_has_done_nothing_tells_no_load_and_a_busy_one_does() -> None:
    assert load_of(recording("tgi", "metrics_fresh").answer.decode()) == EngineLoad()
    busy = load_of(recording("tgi", "metrics_queue_waiting").answer.decode())
    assert busy.running == 4
    assert busy.waiting == 2


def test_an_output_of_more_than_1024_tokens_ends_where_the_recorded_one_did() -> None:
    one = recording("tgi", "max_new_tokens_over_1024_continuation")
    limits = Limits.of(json.loads(recording("tgi", "info").answer))
    prompt, generated = int(one.headers["x-prompt-tokens"]), int(one.headers["x-generated-tokens"])
    assert limits.room(prompt) == generated == 1024
