import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.engines import ollama, tgi
from tests.engines.faults import (
    bad_frame,
    comments,
    cut,
    cut_characters,
    html,
    instead,
    joined,
    no_end,
    slow_bytes,
)
from tests.engines.recordings import recording
from tests.engines.scripted import ScriptedEngine
from tests.engines.server import as_json

TGI = {"inputs": "one two", "parameters": {"max_new_tokens": 20, "details": True, "top_n_tokens": 2}}
OLLAMA = {"model": "scripted", "prompt": "one two", "logprobs": True, "options": {"num_predict": 20}}
KINDS: list[tuple[Callable[[], ScriptedEngine], str, dict[str, Any]]] = [
    (tgi.ScriptedTgi, "/generate_stream", TGI),
    (ollama.ScriptedOllama, "/api/generate", OLLAMA),
]
each_engine = pytest.mark.parametrize(("kind", "path", "body"), KINDS, ids=["tgi", "ollama"])


async def asked(engine: ScriptedEngine, path: str, body: object) -> httpx.Response:
    async with engine.listening() as (server, _), httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        return await client.post(path, json=body)


def text_of(answer: httpx.Response) -> str:
    """Return the text of a stream of either engine."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line and line != ":"]
    frames = [json.loads(line) for line in lines]
    return "".join(frame["token"]["text"] if "token" in frame else frame["response"] for frame in frames)


@each_engine
async def test_a_script_is_the_same_each_time_and_has_characters_of_several_bytes(
    kind: Callable[[], ScriptedEngine], path: str, body: dict[str, Any]
) -> None:
    texts = {text_of(await asked(kind(), path, body)) for _ in range(2)}
    assert len(texts) == 1
    assert not texts.pop().isascii()


@each_engine
async def test_faults_of_the_transport_leave_the_text_whole(
    kind: Callable[[], ScriptedEngine], path: str, body: dict[str, Any]
) -> None:
    right = text_of(await asked(kind(), path, body))
    for fault in (
        slow_bytes(0),
        cut_characters(),
        joined(),
        comments(tgi.COMMENT if kind is tgi.ScriptedTgi else b"\n"),
    ):
        engine = kind()
        engine.fault(path, fault)
        assert text_of(await asked(engine, path, body)) == right


@each_engine
async def test_a_cut_stream_breaks_and_the_next_request_is_right(
    kind: Callable[[], ScriptedEngine], path: str, body: dict[str, Any]
) -> None:
    engine = kind()
    engine.fault(path, cut(2))
    with pytest.raises(httpx.TransportError):
        await asked(engine, path, body)
    assert text_of(await asked(engine, path, body))
    assert (engine.running, engine.left) == (0, 1)


@each_engine
async def test_frames_can_be_wrong_missing_or_of_another_kind(
    kind: Callable[[], ScriptedEngine], path: str, body: dict[str, Any]
) -> None:
    engine = kind()
    engine.fault(path, no_end(3), bad_frame(1, b"{"), html(502), instead(as_json({"error": "no"}, status=500)))
    answers = [await asked(engine, path, body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 502, 500]
    assert "done_reason" not in answers[0].text
    assert '"finish_reason"' not in answers[0].text
    assert answers[1].text.endswith("{")
    assert answers[2].headers["content-type"] == "text/html"


async def test_held_streams_run_until_they_are_released() -> None:
    engine = tgi.ScriptedTgi()
    engine.hold = 3
    async with (
        engine.listening() as (server, _),
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        client.stream("POST", "/generate_stream", json=TGI) as answer,
    ):
        lines = answer.aiter_lines()
        for _ in range(6):
            await anext(lines)
        assert engine.running == 1
        engine.release.set()
        assert len([line async for line in lines if line]) == 17
    assert (engine.running, engine.left) == (0, 0)


async def test_a_failure_ends_the_streams_that_run() -> None:
    engine = tgi.ScriptedTgi()
    engine.failure = tgi.error_frame("gone", "generation")
    assert (await asked(engine, "/generate_stream", TGI)).text == engine.failure.decode()


def shape(value: Any) -> Any:
    """Return a JSON value's keys and kinds."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


Frames = Callable[[bytes], Awaitable[list[Any]]]


@pytest.mark.parametrize(
    ("name", "path"), [("stream_top_n_tokens", "/generate_stream"), ("stream_eos", "/generate_stream")]
)
async def test_tgi_frames_have_the_recorded_shape(name: str, path: str) -> None:
    engine = tgi.ScriptedTgi()
    engine.eos_after = 4 if name == "stream_eos" else None
    one = recording("tgi", name)
    answer = await asked(engine, path, {**one.body, "parameters": {**one.body["parameters"], "seed": None}})
    ours, real = (
        [json.loads(line[6:]) for line in text.splitlines() if line] for text in (answer.text, one.answer.decode())
    )
    assert shape(ours[0]) == shape(real[0])
    assert shape(ours[-1]) == shape(real[-1])


async def test_tgi_tells_tokens_in_the_recorded_shape() -> None:
    one = recording("tgi", "tokenize")
    found = (await asked(tgi.ScriptedTgi(), "/tokenize", one.body)).json()
    assert shape(found) == shape(json.loads(one.answer))
    assert found[-1]["stop"] == json.loads(one.answer)[-1]["stop"] == len(one.body["inputs"].encode())


async def test_ollama_lines_have_the_recorded_shape() -> None:
    one = recording("ollama", "generate_logprobs_stream")
    answer = await asked(ollama.ScriptedOllama(models=("smollm2",)), "/api/generate", one.body)
    ours, real = ([json.loads(line) for line in text.splitlines()] for text in (answer.text, one.answer.decode()))
    assert shape(ours[0]) == shape(real[0])
    assert shape(ours[-1]) == shape(real[-1])


async def test_ollama_refuses_a_model_as_recorded() -> None:
    one = recording("ollama", "generate_unknown_model_404")
    answer = await asked(ollama.ScriptedOllama(), "/api/generate", one.body)
    assert (answer.status_code, answer.json()) == (404, json.loads(one.answer))
