import asyncio
import json
from typing import Any

import pytest

from bellhousing.errors import ContextOverflow, EngineFault, EngineUnavailable, InvalidRequest, StreamBroken
from bellhousing.events import Delta, Event, Finished, SequenceEnd, Started
from bellhousing.requests import Sampling, StructuredOutput
from bellhousing_llamacpp.completion import Stream, constrained, request_body
from bellhousing_llamacpp.connection import Answer
from bellhousing_llamacpp.vocabulary import Vocabulary
from tests.backends.llamacpp.conftest import output_of, request

PIECES = (b"a", b"b", b"\xf0\x9f", b"\x98", b"\x80", b"<end>", b"\xff")
A, B, FIRST, SECOND, THIRD, END, STRAY = range(7)
VOCABULARY = Vocabulary(PIECES)
CANARY = 99
PROGRESS = {
    "content": "",
    "tokens": [0],
    "stop": False,
    "prompt_progress": {"total": 7, "cache": 3, "processed": 0, "time_ms": 0},
}


def token(content: str, number: int, predicted: int, **more: Any) -> dict[str, Any]:
    """Return a frame as the engine sends it for a token."""
    tokens = [number]
    return {"content": content, "tokens": tokens, "stop": False, "tokens_predicted": predicted, **more}


def last(predicted: int, stop_type: str = "limit", **more: Any) -> dict[str, Any]:
    """Return the engine's last frame."""
    timings = {"cache_n": 3, "prompt_n": 4, "prompt_ms": 20.0}
    counts = {"tokens_predicted": predicted, "tokens_evaluated": 7}
    end = {"stop": True, "stop_type": stop_type, "truncated": False, "timings": timings}
    return {"content": "", "tokens": [], **counts, **end, **more}


def sent(*frames: dict[str, Any] | bytes, chunk_ends: bytes = b"0\r\n\r\n") -> Answer:
    """Return the answer of an engine that sends these frames, one a chunk."""
    reader = asyncio.StreamReader()
    for frame in frames:
        data = frame if isinstance(frame, bytes) else f"data: {json.dumps(frame)}\n\n".encode()
        reader.feed_data(b"%x\r\n%s\r\n" % (len(data), data))
    reader.feed_data(chunk_ends)
    reader.feed_eof()
    return Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", reader)


async def events(answer: Answer, *, canary: int | None = None, **fields: Any) -> list[Event]:
    stream = Stream(request(**fields), VOCABULARY, canary)
    return [event async for event in stream.events(answer)]


async def test_a_token_is_a_delta_and_the_last_frame_the_end() -> None:
    found = await events(sent(PROGRESS, token("a", A, 1), token("b", B, 2), last(2)))
    assert found == [
        Started(7, 3),
        Delta("a", (A,)),
        Delta("b", (B,)),
        Finished((SequenceEnd("max_tokens"),), 7, 3, 0.02),
    ]


async def test_the_end_token_is_dropped() -> None:
    output = output_of(await events(sent(PROGRESS, token("a", A, 1), token("", END, 2), last(2, "eos"))))
    assert (output.ids, output.count, output.reason) == ([A], 1, "eos")


async def test_a_token_without_text_that_is_not_the_last_is_delivered() -> None:
    output = output_of(await events(sent(PROGRESS, token("", END, 1), token("a", A, 2), token("", END, 3), last(3))))
    assert (output.ids, output.text) == ([END, A, END], "a")


async def test_hidden_tokens_of_a_character_are_counted_and_named() -> None:
    output = output_of(await events(sent(PROGRESS, token("a", A, 1), token("😀", THIRD, 4), last(4))))
    assert [delta.token_ids for delta in output.deltas] == [(A,), (FIRST, SECOND, THIRD)]


async def test_hidden_tokens_that_are_not_certain_are_counted_and_not_named() -> None:
    output = output_of(await events(sent(PROGRESS, token("😀", THIRD, 5), last(5))))
    assert output.deltas == [Delta("😀", (), 5)]


async def test_bytes_that_are_no_character_come_as_they_are() -> None:
    output = output_of(await events(sent(PROGRESS, token("\ufffd", STRAY, 1), last(1))))
    assert output.deltas == [Delta(b"\xff", (STRAY,))]


@pytest.mark.parametrize(("stop_type", "predicted", "missing"), [("limit", 3, 2), ("eos", 4, 2), ("eos", 2, 0)])
async def test_tokens_of_a_character_that_never_came_are_counted(stop_type: str, predicted: int, missing: int) -> None:
    output = output_of(await events(sent(PROGRESS, token("a", A, 1), last(predicted, stop_type))))
    assert output.deltas[1:] == ([Delta("", (), missing)] if missing else [])
    assert output.finished.sequences[0].cut_character == (missing > 0)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (last(1), "max_tokens"),
        (last(1, truncated=True), "context_length"),
        (last(1, "none"), "unspecified_stop"),
        (last(1, "a new one"), "unspecified_stop"),
    ],
)
async def test_the_reason_of_the_end_is_translated(frame: dict[str, Any], reason: str) -> None:
    assert output_of(await events(sent(PROGRESS, token("a", A, 1), frame))).reason == reason


async def test_without_a_progress_frame_the_first_token_starts_the_stream() -> None:
    found = await events(sent(token("a", A, 1, tokens_evaluated=7), last(1)))
    assert found[0] == Started(7, None)


async def test_frames_may_be_cut_anywhere_and_comments_and_unknown_keys_are_skipped() -> None:
    whole = b"".join(
        f"data: {json.dumps(frame)}\n\n".encode() for frame in (PROGRESS, token("a", A, 1, x=[1]), last(1))
    )
    noisy = b": ping\n\n" + whole + b"data: [DONE]\n\n"
    found = await events(sent(*(noisy[at : at + 7] for at in range(0, len(noisy), 7))))
    assert [type(event) for event in found] == [Started, Delta, Finished]


async def test_a_stream_without_its_last_frame_is_broken() -> None:
    with pytest.raises(StreamBroken):
        await events(sent(PROGRESS, token("a", A, 1)))


async def test_a_stream_that_breaks_off_is_at_its_end_too_early() -> None:
    with pytest.raises(EOFError):
        await events(sent(PROGRESS, token("a", A, 1), chunk_ends=b"5\r\nda"))


@pytest.mark.parametrize("form", ["data: ", "error: "])
async def test_an_error_inside_the_stream_is_a_fault_of_the_engine(form: str) -> None:
    body = {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}
    line = json.dumps({"error": body} if form == "data: " else body)
    with pytest.raises(EngineFault, match="Context size has been exceeded") as caught:
        await events(sent(PROGRESS, f"{form}{line}\n\n".encode()))
    assert caught.value.engine_code == "server_error"


async def test_other_errors_inside_the_stream_keep_their_meaning() -> None:
    body = {"code": 400, "message": "x", "type": "exceed_context_size_error", "n_prompt_tokens": 600, "n_ctx": 512}
    with pytest.raises(ContextOverflow):
        await events(sent({"error": body}))
    with pytest.raises(EngineUnavailable):
        await events(sent({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}))


SCHEMA = StructuredOutput("json_schema", "{}")


async def collected(stream: Stream, answer: Answer, into: list[Event]) -> None:
    """Keep what comes before an error."""
    async for event in stream.events(answer):
        into.append(event)


async def test_a_dropped_grammar_is_refused_before_started() -> None:
    found: list[Event] = []
    stream = Stream(request(structured_output=SCHEMA), VOCABULARY, CANARY)
    with pytest.raises(InvalidRequest, match=r"structured_output\.json_schema"):
        await collected(stream, sent(PROGRESS, token("x", CANARY, 1)), found)
    assert found == []


async def test_a_grammar_dropped_later_is_a_fault_and_nothing_unconstrained_is_sent() -> None:
    found: list[Event] = []
    stream = Stream(request(structured_output=SCHEMA), VOCABULARY, CANARY)
    with pytest.raises(EngineFault, match="after 1 tokens"):
        await collected(stream, sent(PROGRESS, token("a", A, 1), token("", CANARY, 2), last(2)), found)
    assert found == [Started(7, 3), Delta("a", (A,))]


async def test_log_probabilities_are_cut_to_what_was_asked() -> None:
    top = [{"id": i, "token": "", "bytes": [97 + i], "logprob": -0.5 - i} for i in range(2)]
    chosen = {"id": A, "token": "a", "bytes": [97], "logprob": 1e-7, "top_logprobs": top}
    for wanted, count in ((0, 0), (1, 1), (2, 2)):
        frames = (PROGRESS, token("a", A, 1, completion_probabilities=[chosen]), last(1))
        (entry,) = output_of(await events(sent(*frames), logprobs=wanted)).logprobs
        assert (entry.token, entry.id, entry.logprob, len(entry.top)) == (b"a", A, 0.0, count)


def test_every_parameter_of_sampling_is_sent() -> None:
    body = request_body(request(logit_bias={3: -1.5}, logprobs=0), "x", context_length=512, prefix_cache=False)
    assert body["logit_bias"] == [[3, -1.5]]
    assert body["n_probs"] == 1
    assert body["repeat_last_n"] == 512
    assert (body["cache_prompt"], body["return_progress"], body["stream"]) == (False, True, True)
    assert "stop" not in body
    neutral = {"temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty"}
    assert all(body[name] is not None for name in neutral | {"presence_penalty", "frequency_penalty", "seed"})


def test_without_a_limit_the_engine_goes_on_to_the_end_of_the_context() -> None:
    wanted = request(max_tokens=None)
    assert wanted.sampling != Sampling()
    assert request_body(wanted, "x", context_length=512, prefix_cache=True)["n_predict"] == -1


def test_the_canary_outweighs_a_bias_of_the_request() -> None:
    body = constrained({"logit_bias": [[CANARY, -100.0], [A, 1.0]]}, "g", CANARY)
    assert body == {"grammar": "g", "logit_bias": [[A, 1.0], [CANARY, 1000.0]]}
