import httpx
import pytest

from bellhousing.http import answers, engine_client
from tests.engines.server import Answer, Asked, Cut, as_json, listening, stream


async def told(asked: Asked) -> Answer:
    """Answer with what was asked; `/cut` breaks off and `/bad` is refused."""
    if asked.path == "/cut":
        return stream([Cut()], "text/plain")
    return as_json(dict(asked.headers), status=503 if asked.path == "/bad" else 200)


async def test_the_key_is_sent_as_a_bearer_token_and_nothing_without_one() -> None:
    async with listening(told) as server, engine_client(server.url, "secret") as client:
        assert (await client.get("/")).json()["authorization"] == "Bearer secret"
    async with listening(told) as server, engine_client(server.url) as client:
        assert "authorization" not in (await client.get("/")).json()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with listening(told) as server, engine_client(server.url) as client:
        assert (await client.get("/")).status_code == 200


async def test_a_server_answers_only_by_200_within_its_time() -> None:
    async with listening(told) as server, engine_client(server.url) as client:
        assert await answers(client, "/")
        assert not await answers(client, "/bad")
        assert not await answers(client, "/cut")
    async with engine_client("http://127.0.0.1:9") as client:
        assert not await answers(client, "/")
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
