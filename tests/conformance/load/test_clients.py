"""Engines' own HTTP APIs: scripted servers, and bytes that were recorded from real ones."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing_conformance.load.clients import client_of
from bellhousing_conformance.load.clients.client import Endpoint, Received, frames
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import ledger, schedule, tokens
from bellhousing_conformance.load.job import Job, open_job
from bellhousing_conformance.load.record import Arrivals, Sent
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.sender import Sender
from bellhousing_conformance.load.workload import Lengths, Planned, Workload, plan_of
from tests.engines.ollama import MODEL, ScriptedOllama
from tests.engines.recordings import recording
from tests.engines.server import Answer, Asked, Cut, Pause, as_json, listening, stream
from tests.engines.tgi import ScriptedTgi

REQUEST = Planned(0, "measured", 0, "a b c", 6, seed=5)


def endpoint(kind: str, url: str = "http://127.0.0.1:1") -> Endpoint:
    return Endpoint(kind, url, MODEL if kind == "ollama" else "m", natural=kind != "openai")


def job(where: Endpoint, **settings: object) -> Job:
    made = drawn(Arrivals("poisson", 30), [Stage("measured", 30, 1)], 1)
    lengths = {"prompt_tokens": Lengths(low=4, high=8), "output_tokens": Lengths(low=6, high=6)}
    return open_job(where, made, plan_of(made, Workload.model_validate({**lengths, **settings}), 1), 1)


def completion(tokens: int, *, usage: bool = True, ids: bool = True, ends: bool = True) -> list[bytes]:
    """Return the frames of a completion, as vLLM writes them."""
    choices = [
        {"text": " a", "finish_reason": "length" if ends and place == tokens - 1 else None} for place in range(tokens)
    ]
    events = [{"choices": [choice | ({"token_ids": [7]} if ids else {})]} for choice in choices]
    counted = [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}] if usage else []
    return [f"data: {json.dumps(each)}\n\n".encode() for each in [*events, *counted]] + [b"data: [DONE]\n\n"]


@asynccontextmanager
async def completing(answer: Answer) -> AsyncIterator[tuple[str, list[Asked]]]:
    """An OpenAI-compatible server that always answers the same."""
    asked: list[Asked] = []

    async def handle(request: Asked) -> Answer:
        asked.append(request)
        return answer if request.method == "POST" else as_json({}, status=404)

    async with listening(handle) as server:
        yield server.url, asked


async def rows_of(answer: Answer, *, deadline: float = 60.0) -> list[Sent]:
    async with completing(answer) as (url, _):
        return (await Sender(job(replace(endpoint("openai", url), deadline=deadline))).run())[0]


async def test_completions_are_counted_by_their_token_ids() -> None:
    async with completing(stream(completion(6), "text/event-stream")) as (url, asked):
        rows, info = await Sender(job(endpoint("openai", url), adapters=("", "lora"))).run()
    run = Run(rows, info)
    assert all(gate.is_kept for gate in (ledger(run), schedule(run), tokens(run)))
    assert {(row.code, row.tokens, row.prompt_tokens) for row in rows} == {("OK", 6, 3)}
    bodies = [request.json() for request in asked if request.method == "POST"]
    assert {body["model"] for body in bodies} == {"m", "lora"}
    assert all(body["ignore_eos"] and body["stream_options"] == {"include_usage": True} for body in bodies)


async def test_without_token_ids_a_piece_of_text_is_a_token_and_the_ledger_watches() -> None:
    merged = completion(6, ids=False)
    assert {row.tokens for row in await rows_of(stream(merged, "text/event-stream"))} == {6}
    async with completing(stream(merged[2:], "text/event-stream")) as (url, _):
        rows, info = await Sender(job(endpoint("openai", url))).run()
    assert "such as request 0: 4 and 6" in tokens(Run(rows, info)).found


async def test_a_server_that_tells_no_usage_makes_the_run_invalid() -> None:
    async with completing(stream(completion(6, usage=False), "text/event-stream")) as (url, _):
        rows, info = await Sender(job(endpoint("openai", url))).run()
    assert not tokens(Run(rows, info)).is_kept


@pytest.mark.parametrize(("answer", "code", "reason"), [
    (as_json({"error": {"message": "full"}}, status=429), "HTTP 429", "full"),
    (stream(completion(6, ends=False), "text/event-stream"), "STREAM_FAILED", "expected a finish_reason"),
    (stream([*completion(6)[:2], b'data: {"error": "no"}\n\n'], "text/event-stream"), "STREAM_FAILED", '"no"'),
    (stream([b"data: {half\n\n"], "text/event-stream"), "STREAM_FAILED", "no JSON"),
    (stream([*completion(6)[:2], Cut()], "text/event-stream"), "UNAVAILABLE", "Payload"),
    (stream([*completion(6)[:2], Pause(None)], "text/event-stream"), "DEADLINE_EXCEEDED", "no end within 0.2 s"),
])  # fmt: skip
async def test_a_failure_keeps_its_code_and_its_reason(answer: Answer, code: str, reason: str) -> None:
    rows = await rows_of(answer, deadline=0.2)
    assert {row.code for row in rows} == {code}
    assert all(reason in row.reason for row in rows)


async def test_ollama_counts_its_lines() -> None:
    async with ScriptedOllama().listening() as (server, engine):
        rows, info = await Sender(job(endpoint("ollama", server.url.removeprefix("http://")))).run()
    assert {row.code for row in rows} == {"OK"}
    assert all(row.usage_tokens == 6 for row in rows)
    assert ledger(Run(rows, info)).is_kept
    assert all(asked.json()["raw"] for asked in engine.bodies("/api/generate"))


async def test_tgi_counts_its_events() -> None:
    async with ScriptedTgi(adapters=("lora",)).listening() as (server, engine):
        rows, info = await Sender(job(endpoint("tgi", server.url), adapters=("lora",))).run()
    run = Run(rows, info)
    assert all(gate.is_kept for gate in (ledger(run), schedule(run), tokens(run)))
    assert {(row.code, row.tokens) for row in rows} == {("OK", 6)}
    assert {asked.json()["parameters"]["adapter_id"] for asked in engine.bodies("/generate_stream")} == {"lora"}


async def test_turns_of_a_session_repeat_what_was_said() -> None:
    async with ScriptedTgi().listening() as (server, engine):
        await Sender(job(endpoint("tgi", server.url), turns=2)).run()
    prompts = sorted((asked.json()["inputs"] for asked in engine.bodies("/generate_stream")), key=len)
    half = len(prompts) // 2
    assert all(any(later.startswith(first) for later in prompts[half:]) for first in prompts[:half])


async def test_an_engine_that_is_full_is_a_failure() -> None:
    async with ScriptedTgi().listening() as (server, engine):
        engine.max_concurrent_requests = 0
        rows, _ = await Sender(job(endpoint("tgi", server.url))).run()
    assert {row.code for row in rows} == {"STREAM_FAILED"}
    assert "overloaded" in rows[0].reason


@pytest.mark.parametrize(("kind", "name", "tokens", "usage"), [
    ("ollama", "generate_raw_stream_length", 24, 24),
    ("ollama", "generate_template_stream_stop_eos", 9, 9),
    ("tgi", "stream_eos", 9, 9),
    ("tgi", "stream_unicode", 38, 38),
])  # fmt: skip
def test_bytes_of_a_real_engine_are_read(kind: str, name: str, tokens: int, usage: int) -> None:
    found = recording(kind, name)
    received = Received(
        stamps=[round(chunk.at * 1e9) for chunk in found.chunks], chunks=[chunk.data for chunk in found.chunks]
    )
    reading = client_of(endpoint(kind)).read(received)
    assert reading.fault == ""
    assert sum(count for _, count in reading.arrivals) == tokens
    assert reading.usage_tokens == usage
    assert [stamp for stamp, _ in reading.arrivals] == sorted(stamp for stamp, _ in reading.arrivals)


def test_a_frame_has_the_stamp_of_the_chunk_that_completed_it() -> None:
    received = Received(stamps=[1, 2, 3], chunks=[b"a\nb", b"b\n\nc", b"c"])
    assert list(frames(received, b"\n")) == [(1, b"a"), (2, b"bb"), (3, b"cc")]


@pytest.mark.parametrize("kind", ["ollama", "tgi"])
def test_an_api_that_cannot_ignore_the_end_token_is_asked_for_natural_lengths_alone(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="expected natural lengths"):
        client_of(replace(endpoint(kind), natural=False))


def test_ollama_has_no_field_for_an_adapter() -> None:
    with pytest.raises(ConfigurationError, match="expected no adapter, found 'lora'"):
        client_of(endpoint("ollama")).prepared(replace(REQUEST, adapter="lora"), "a")


def test_an_unknown_client_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="expected one of contract, openai, ollama, tgi"):
        client_of(endpoint("triton"))


@pytest.mark.parametrize("kind", ["openai", "ollama", "tgi"])
async def test_an_address_where_nobody_is_ends_the_run_before_it_began(kind: str) -> None:
    with pytest.raises(EngineUnavailable, match="expected an HTTP server, found ClientConnectorError"):
        await Sender(job(endpoint(kind))).run()
