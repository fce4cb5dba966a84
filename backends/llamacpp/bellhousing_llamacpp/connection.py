"""HTTP over the engine's UNIX socket: one connection a request, as the engine now and then closes one in reuse.

A client of its own since general ones cost more than the rest of this backend: measured with a token every 10 ms, a
request took 0.7 ms of processor time here, 1.5 ms with aiohttp and 4.2 ms with httpx.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from bellhousing_llamacpp.errors import error_of, gone

BUFFER = 1 << 24
"""One frame of a stream may hold the log probabilities of many alternatives."""
QUICK_SECONDS = 60.0
"""Answers that the engine's loop gives wait for the step it is in."""
_END_OF_HEAD, _END_OF_LINE = b"\r\n\r\n", b"\r\n"


class Answer:
    """An answer whose head was read."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        lines = head.split(_END_OF_LINE)
        self.status = int(lines[0].split(b" ", 2)[1])
        self._reader = reader
        self._is_chunked = any(line.lower() == b"transfer-encoding: chunked" for line in lines)
        lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
        self._length = int(lengths[0].split(b":")[1]) if lengths else 0

    async def read(self) -> bytes:
        """Return the whole body."""
        if self._is_chunked:
            return b"".join([chunk async for chunk in self.chunks()])
        return await self._reader.readexactly(self._length)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, in the pieces that the engine sent. Raises `EOFError` when it breaks off."""
        while True:
            size = int(await self._reader.readuntil(_END_OF_LINE), 16)
            chunk = await self._reader.readexactly(size + len(_END_OF_LINE))
            if size == 0:
                return
            yield chunk[:size]


class Connection:
    """The way to one engine. `key` is the secret that it asks for."""

    def __init__(self, socket: Path, key: str) -> None:
        self._socket = str(socket)
        self._key = key
        self._open: set[asyncio.StreamWriter] = set()

    async def ask(self, path: str, body: object = None, *, patience: float = QUICK_SECONDS) -> Any:
        """Return the JSON answer of a short request within `patience` seconds. Raises what the engine answers."""
        try:
            async with asyncio.timeout(patience), self.request(path, body) as answer:
                found = await answer.read()
        except TimeoutError as error:
            raise gone(error) from error
        if answer.status != 200:
            raise error_of(answer.status, found)
        return msgspec.json.decode(found)

    @asynccontextmanager
    async def request(self, path: str, body: object = None) -> AsyncIterator[Answer]:
        """Send a request, a GET without body; leaving early ends the engine's work on it.

        Raises `EngineUnavailable` when the connection breaks.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket, limit=BUFFER)
        except OSError as error:
            raise gone(error) from error
        self._open.add(writer)
        try:
            writer.write(self._message(path, body))
            yield Answer(await reader.readuntil(_END_OF_HEAD), reader)
        except (OSError, EOFError) as error:
            raise gone(error) from error
        finally:
            self._open.discard(writer)
            writer.close()

    def abort(self) -> None:
        """Break every open connection: each request ends with `EngineUnavailable`."""
        for writer in self._open:
            writer.transport.abort()

    def _message(self, path: str, body: object) -> bytes:
        data = b"" if body is None else msgspec.json.encode(body)
        lines = (
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1",
            "Host: engine",
            "Connection: close",
            f"Authorization: Bearer {self._key}",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
            "\r\n",
        )
        return "\r\n".join(lines).encode() + data
