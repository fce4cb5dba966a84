from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bellhousing.http import EngineHttp, Unanswered
from tests.engines.server import Answer, Asked, Cut, as_json, listening, stream


async def told(asked: Asked) -> Answer:
    """Answer with what was asked; `/cut` breaks off, `/bad` is refused and `/lines` is a stream."""
    if asked.path == "/cut":
        return stream([b"one\n", Cut()], "text/plain")
    if asked.path == "/lines":
        return stream([b"a", b"\r\nb\n\nc", b" and d\ne"], "text/plain")
    if asked.path == "/moved":
        return replace(as_json({}), status=302, headers={"location": "/"})
    return as_json(dict(asked.headers) | {"x-body": asked.body.decode()}, status=503 if asked.path == "/bad" else 200)


@asynccontextmanager
async def serving(key: str = "") -> AsyncIterator[EngineHttp]:
    async with listening(told) as server:
        http = EngineHttp(f"{server.url}/", key)
        yield http
        await http.close()


async def test_the_key_is_sent_as_a_bearer_token_and_nothing_without_one() -> None:
    async with serving("secret") as http:
        assert (await http.ask("GET", "/")).json()["authorization"] == "Bearer secret"
    async with serving() as http:
        assert "authorization" not in (await http.ask("GET", "/")).json()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving() as http:
        assert (await http.ask("GET", "/")).status == 200


async def test_a_server_is_well_only_by_200_within_its_time() -> None:
    async with serving() as http:
        assert await http.is_well("/")
        assert not await http.is_well("/bad")
        assert not await http.is_well("/cut")
    http = EngineHttp("http://127.0.0.1:9")
    assert not await http.is_well("/")
    with pytest.raises(Unanswered, match="ClientConnectorError"):
        await http.ask("GET", "/")
    await http.close()


async def test_a_redirection_is_an_answer_and_not_followed() -> None:
    async with serving() as http:
        assert (await http.ask("GET", "/moved")).status == 302


async def test_a_body_is_sent_as_json_and_content_as_it_is() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"4"
        yield b"2"

    async with serving() as http:
        assert (await http.ask("POST", "/", body={"n": None})).json()["x-body"] == '{"n": null}'
        assert (await http.ask("POST", "/", content=pieces())).json()["x-body"] == "42"


async def test_lines_come_whole_without_their_ends_and_without_empty_ones() -> None:
    async with serving() as http, http.streaming("/lines", {}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert [line async for line in answer.lines()] == [b"a", b"b", b"c and d", b"e"]


async def test_a_stream_that_breaks_off_is_unanswered() -> None:
    async def read(http: EngineHttp) -> None:
        async with http.streaming("/cut", {}) as answer:
            async for line in answer.lines():
                seen.append(line)

    seen: list[bytes] = []
    async with serving() as http:
        with pytest.raises(Unanswered):
            await read(http)
    assert seen == [b"one"]


async def test_an_answer_that_comes_too_late_is_unanswered() -> None:
    async with serving() as http:
        with pytest.raises(Unanswered, match="TimeoutError"):
            await http.ask("GET", "/", patience=1e-6)


async def test_closing_a_client_that_never_asked_is_fine() -> None:
    await EngineHttp("http://127.0.0.1:9").close()
