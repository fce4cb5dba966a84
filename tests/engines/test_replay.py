import json

import httpx
import pytest

from tests.engines.recordings import Engine, Recording, recording, recordings
from tests.engines.replay import MISMATCH, replaying


async def ask(client: httpx.AsyncClient, one: Recording, body: object = None, url: str = "") -> httpx.Response:
    chosen = one.body if body is None else body
    content = b"" if chosen is None else chosen if isinstance(chosen, str) else json.dumps(chosen).encode()
    return await client.request(one.method, f"{url}{one.path}", content=content)


@pytest.mark.parametrize("engine", ["tgi", "ollama"])
async def test_every_recording_is_played_as_it_was(engine: Engine) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for one in recordings(engine):
            async with replaying(one) as (server, _):
                if one.is_cut:
                    with pytest.raises(httpx.TransportError):
                        await ask(client, one, url=server.url)
                    continue
                answer = await ask(client, one, url=server.url)
            assert (answer.status_code, answer.content) == (one.status, one.answer), one.name
            assert {key: answer.headers[key] for key in one.headers} == one.headers, one.name


async def test_chunks_are_the_recorded_ones() -> None:
    one = recording("tgi", "stream_unicode")
    async with (
        replaying(one) as (server, _),
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        client.stream(one.method, one.path, json=one.body) as answer,
    ):
        assert [chunk async for chunk in answer.aiter_raw()] == [chunk.data for chunk in one.chunks]


async def test_bodies_are_compared_as_values() -> None:
    one = recording("ollama", "generate_raw_stream_length")
    async with replaying(one) as (server, _), httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        turned = dict(reversed(one.body.items()))
        assert (await ask(client, one, turned)).status_code == 200


async def test_another_body_is_answered_599_and_fails_the_test_by_name() -> None:
    one = recording("tgi", "stream_eos")
    with pytest.raises(AssertionError, match=r'asked POST /generate_stream {"inputs": true}.*\n.*stream_eos'):
        async with replaying(one) as (server, _), httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            assert (await ask(client, one, {"inputs": True})).status_code == MISMATCH


async def test_another_path_is_answered_with_what_is_recorded() -> None:
    one = recording("tgi", "info")
    async with replaying(one, are_mismatches_expected=True) as (server, replay), httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/nope")).status_code == MISMATCH
    assert replay.mismatches == ["asked GET /nope null; recorded there:\n  only GET /info"]


async def test_recordings_of_one_request_come_in_order_and_the_last_stays() -> None:
    ones = [recording("tgi", name) for name in ("health_ok", "shard_killed_health")]
    async with replaying(*ones) as (server, _), httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        assert [(await client.get("/health")).status_code for _ in range(3)] == [200, 503, 503]
