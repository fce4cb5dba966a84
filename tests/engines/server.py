"""A small HTTP/1.1 server on a loopback port whose answers are written byte for byte as a test says.

It exists because frameworks hide what tests of a client need to choose: where an HTTP chunk ends, when a socket breaks,
and whether anyone listens at all.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import h11


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Header names are in lower case; `path` has no query."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the body's JSON value. Raises `ValueError` when it has none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds in which nothing is sent; None lasts until the client leaves."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Cut:
    """The socket closes here, in the midst of the answer."""


Step = bytes | Pause | Cut
"""Bytes are one HTTP chunk of their own, or one write where the answer has a length."""
Steps = AsyncIterator[Step]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body in steps. With `length` (in bytes) the body is not chunked."""

    steps: Callable[[], Steps]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None

    def changed(self, change: Callable[[Steps], Steps]) -> "Answer":
        """Return the answer with other steps, chunked since its length may be another."""
        return replace(self, steps=lambda: change(self.steps()), length=None)


def stream(steps: Iterable[Step], content_type: str, *, status: int = 200) -> Answer:
    """Return a chunked answer."""
    kept = tuple(steps)
    return Answer(lambda: each(kept), status, {"content-type": content_type})


def whole(body: bytes, content_type: str, *, status: int = 200) -> Answer:
    """Return an answer with a length."""
    kept = (body,) if body else ()
    headers = {"content-type": content_type} if content_type else {}
    return Answer(lambda: each(kept), status, headers, len(body))


def as_json(value: object, *, status: int = 200) -> Answer:
    """Return a JSON value as an answer with a length."""
    return whole(json.dumps(value).encode(), "application/json", status=status)


async def each(steps: Sequence[Step]) -> Steps:
    """Yield the steps in order."""
    for step in steps:
        yield step


Handler = Callable[[Asked], Awaitable[Answer]]


class HttpServer:
    """Answers requests with `handler` while it is open. `open` and `close` may alternate; the port stays the same."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Listen, on a free port the first time."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections from now on, and break those that are open."""
        if self._listener:
            self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._listener = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            await _Connection(self._handler, reader, writer).run()
        except (ConnectionError, asyncio.CancelledError, h11.RemoteProtocolError):
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()


class _Connection:
    """One connection: requests one after the other, each answered before the next."""

    def __init__(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handler = handler
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)

    async def run(self) -> None:
        while asked := await self._asked():
            answering = asyncio.ensure_future(self._answer(asked))
            leaving = asyncio.ensure_future(self._reader.read(1 << 16))
            try:
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done() and not answering.done() and not leaving.result():
                    return
                await answering
            finally:
                await _end(answering)
                await _end(leaving)
            # Only now: the next request may have come while the answer was being ended.
            if not leaving.cancelled() and leaving.result():
                self._http.receive_data(leaving.result())
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _asked(self) -> Asked | None:
        """Return the next request; None when the client has left."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(1 << 16))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head
                headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                return Asked(head.method.decode(), head.target.decode().partition("?")[0], body, headers)
            else:
                return None

    async def _answer(self, asked: Asked) -> None:
        answer = await self._handler(asked)
        framing = {} if answer.length is None else {"content-length": str(answer.length)}
        self._write(h11.Response(status_code=answer.status, headers=list({**answer.headers, **framing}.items())))
        async with contextlib.aclosing(answer.steps()) as steps:  # type: ignore[type-var]
            async for step in steps:
                await self._take(step)
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    async def _take(self, step: Step) -> None:
        match step:
            case Pause(seconds=None):
                await asyncio.Event().wait()
            case Pause(seconds=seconds):
                assert seconds is not None
                await asyncio.sleep(seconds)
            case Cut():
                raise ConnectionResetError
            case _:
                self._write(h11.Data(data=step))
                await self._writer.drain()

    def _write(self, event: h11.Event) -> None:
        raw = self._http.send(event)
        if raw:
            self._writer.write(raw)


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait for it. Waiting for it by itself would swallow a cancellation of the caller."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # so that nobody counts it as never looked at


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[HttpServer]:
    """Serve on a free loopback port for the body."""
    server = HttpServer(handler)
    await server.open()
    try:
        yield server
    finally:
        await server.close()
