import asyncio

import httpx
import pytest

from tests.engines.server import Answer, Asked, Cut, HttpServer, Pause, as_json, listening, stream, whole


async def raw(server: HttpServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def echo(asked: Asked) -> Answer:
    return as_json([asked.method, asked.path, asked.body.decode()])


async def test_method_path_and_body_reach_the_handler_on_a_kept_connection() -> None:
    async with listening(echo) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for number in range(3):
            answer = await client.post("/here?x=1", content=str(number))
            assert answer.json() == ["POST", "/here", str(number)]


async def test_chunks_of_an_answer_are_those_of_the_script() -> None:
    async def two(asked: Asked) -> Answer:
        return stream([b"\xc3", b"\xa4!"], "text/plain")

    async with listening(two) as server:
        answer = await raw(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n1\r\n\xc3\r\n2\r\n\xa4!\r\n0\r\n\r\n")


async def test_an_answer_with_a_length_is_not_chunked() -> None:
    async def short(asked: Asked) -> Answer:
        return whole(b"abc", "text/plain", status=418)

    async with listening(short) as server, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(server.url)
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (418, "3", b"abc")


async def test_a_cut_breaks_the_answer_off() -> None:
    async def broken(asked: Asked) -> Answer:
        return stream([b"abc", Cut()], "text/plain")

    async with (
        listening(broken) as server,
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", server.url) as answer,
    ):
        assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            await answer.aread()


async def test_a_closed_server_refuses_and_an_opened_one_answers_at_the_same_address() -> None:
    async with listening(echo) as server, httpx.AsyncClient(trust_env=False) as client:
        await server.close()
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url)
        await server.open()
        assert (await client.get(server.url)).status_code == 200


async def test_a_client_that_leaves_ends_the_answer() -> None:
    has_ended = asyncio.Event()

    async def endless(asked: Asked) -> Answer:
        async def steps():  # type: ignore[no-untyped-def]
            try:
                yield b"first"
                yield Pause(None)
            finally:
                has_ended.set()

        return Answer(steps)

    async with listening(endless) as server, httpx.AsyncClient(trust_env=False) as client:
        async with client.stream("GET", server.url) as answer:
            assert await anext(answer.aiter_raw()) == b"first"
        async with asyncio.timeout(10):
            await has_ended.wait()


async def test_a_request_that_follows_at_once_is_not_lost() -> None:
    request = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    async with listening(echo) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        for number in range(200):
            writer.write(request % number)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert (await reader.readexactly(length)).decode() == f'["GET", "/{number}", ""]'
        writer.close()


async def test_requests_that_come_together_are_answered_in_order() -> None:
    together = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with listening(echo) as server:
        answer = await raw(server, together)
    assert answer.index(b'"/a"') < answer.index(b'"/b"')
