import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bellhousing.errors import EngineFault, EngineUnavailable
from bellhousing.settings import ModelSpec
from bellhousing_llamacpp import LlamaCppBackend, LlamaCppOptions
from bellhousing_llamacpp.connection import Connection
from bellhousing_llamacpp.engines import Engines
from bellhousing_llamacpp.server import Server, Shape

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(directory: Path, handler: Handler) -> AsyncIterator[Connection]:
    """Run a server with `handler` on a UNIX socket; yield the way to it."""
    socket = directory / "s"
    server = await asyncio.start_unix_server(handler, socket)
    try:
        yield Connection(socket, "secret")
    finally:
        server.close()


def answering(answer: bytes, asked: list[bytes] | None = None) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            asked.append(head)
        writer.write(answer)
        await writer.drain()
        writer.close()

    return handle


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_a_question_carries_the_key_and_gets_its_answer(tmp_path: Path) -> None:
    asked: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[1,2,3]"
    async with listening(tmp_path, answering(answer, asked)) as connection:
        assert await connection.ask("/slots") == [1, 2, 3]
        assert await connection.ask("/tokenize", {"content": "é"}) == [1, 2, 3]
    assert asked[0].startswith(b"GET /slots HTTP/1.1\r\n")
    assert asked[1].startswith(b"POST /tokenize HTTP/1.1\r\n")
    assert all(b"Authorization: Bearer secret\r\n" in head for head in asked)


async def test_an_answer_in_chunks_is_put_together(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    async with listening(tmp_path, answering(answer)) as connection:
        assert await connection.ask("/slots") == [1, 2]


async def test_an_error_answer_is_raised(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    async with listening(tmp_path, answering(answer)) as connection:
        with pytest.raises(EngineFault, match="HTTP 500"):
            await connection.ask("/slots")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1"])
async def test_an_answer_that_breaks_off_is_an_engine_that_is_gone(tmp_path: Path, answer: bytes) -> None:
    async with listening(tmp_path, answering(answer)) as connection:
        with pytest.raises(EngineUnavailable):
            await connection.ask("/slots")


async def test_nobody_listening_is_an_engine_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="FileNotFoundError"):
        await Connection(tmp_path / "absent", "k").ask("/slots")


async def test_patience_ends(tmp_path: Path) -> None:
    async with listening(tmp_path, silent) as connection:
        with pytest.raises(EngineUnavailable):
            await connection.ask("/slots", patience=0.05)


async def test_abort_ends_what_waits(tmp_path: Path) -> None:
    async with listening(tmp_path, silent) as connection:
        waiting = asyncio.create_task(connection.ask("/slots"))
        await asyncio.sleep(0.05)
        connection.abort()
        with pytest.raises(EngineUnavailable):
            await waiting


async def test_an_engine_whose_loop_hangs_counts_as_dead(tmp_path: Path) -> None:
    options = LlamaCppOptions(hang_seconds=0.1)
    backend = LlamaCppBackend(ModelSpec(name="m", path=tmp_path), options)
    async with listening(tmp_path, silent) as connection:
        backend._engines = await engines_of(connection, options)
        reason = await asyncio.wait_for(backend.died(), 5)
    assert "did not answer within 0.1 s" in reason


async def engines_of(connection: Connection, options: LlamaCppOptions) -> Engines:
    """Return engines whose one engine is reached over a connection."""

    async def opening(adapters: tuple[Path, ...]) -> Server:
        server = Server(Path("none"), Shape(1, 256, 64), options, adapters)
        server.connection = connection
        return server

    engines = Engines(opening, beside=True)
    await engines.open()
    return engines
