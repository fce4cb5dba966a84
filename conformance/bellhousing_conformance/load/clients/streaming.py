"""What the HTTP clients share: one POST whose body is streamed, stamped as its bytes come."""

import asyncio
import json
import os
import time
from abc import abstractmethod
from http import HTTPStatus
from typing import Any, ClassVar

from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.http import EngineHttp, Unanswered
from bellhousing_conformance.load.clients.client import (
    CONNECTION,
    TOKEN_VARIABLE,
    Client,
    Endpoint,
    Reading,
    Received,
    frames,
)
from bellhousing_conformance.load.record import DEADLINE, OK

MOST_REASON = 300


class StreamingClient(Client):
    """An HTTP API with one path for generation; `separator` ends each frame of its stream.

    Without `can_ignore_eos` it can only be asked for natural lengths.
    """

    path: ClassVar[str]
    separator: ClassVar[bytes] = b"\n"
    can_ignore_eos: ClassVar[bool] = False

    def __init__(self, endpoint: Endpoint) -> None:
        if not (endpoint.natural or self.can_ignore_eos):
            raise ConfigurationError(
                f"client {endpoint.kind!r}: the API cannot generate past the end token: expected natural lengths",
                hint="`--natural`",
            )
        self._endpoint = endpoint

    async def open(self) -> None:
        """See `Client`. Any HTTP answer shows that somebody is there."""
        address = self._endpoint.address
        url = address if "://" in address else f"http://{address}"
        self._http = EngineHttp(url, os.environ.get(TOKEN_VARIABLE, ""))
        try:
            await self._http.ask("GET", "/")
        except Unanswered as error:
            raise EngineUnavailable(f"{address}: expected an HTTP server, found {error}") from error

    async def close(self) -> None:
        """See `Client`."""
        await self._http.close()

    async def send(self, prepared: bytes, received: Received) -> None:
        """See `Client`."""
        received.sent_ns = time.perf_counter_ns()
        try:
            async with asyncio.timeout(self._endpoint.deadline):
                await self._exchange(prepared, received)
        except TimeoutError:
            received.failed(DEADLINE, f"no end within {self._endpoint.deadline:g} s")
        except Unanswered as error:
            received.failed(CONNECTION, str(error)[:MOST_REASON])
        finally:
            received.end_ns = time.perf_counter_ns()

    async def _exchange(self, prepared: bytes, received: Received) -> None:
        stamps, chunks = received.stamps, received.chunks
        async with self._http.streaming(self.path, prepared) as answer:
            if answer.status != HTTPStatus.OK:
                body = (await answer.read())[:MOST_REASON].decode(errors="replace")
                received.failed(f"HTTP {answer.status}", body)
                return
            async for chunk in answer.chunks():
                stamps.append(time.perf_counter_ns())
                chunks.append(chunk)
        received.code = OK

    def read(self, received: Received) -> Reading:
        """See `Client`."""
        reading = Reading(fault=self.lacking)
        for stamp, frame in frames(received, self.separator):
            payload = self.payload(frame)
            if payload is None:
                continue
            try:
                event = json.loads(payload)
            except ValueError:
                reading.fault = "a frame that is no JSON"
                break
            if not isinstance(event, dict) or event.get("error"):
                reading.fault = f"an error inside the stream: {payload[:MOST_REASON].decode(errors='replace')}"
                break
            self.take(event, stamp, reading)
        return reading

    lacking: ClassVar[str]
    """The fault of a stream without its last frame; `take` clears it when that comes."""

    def payload(self, frame: bytes) -> bytes | None:
        """Return the JSON of a frame; None for one without, such as a comment."""
        return frame

    @abstractmethod
    def take(self, event: dict[str, Any], stamp: int, reading: Reading) -> None:
        """Add what an event says to a reading."""


def sse_payload(frame: bytes) -> bytes | None:
    """Return the data of a line of server-sent events; None for another line and for OpenAI's end mark."""
    if not frame.startswith(b"data:"):
        return None
    data = frame[5:].strip()
    return None if data in {b"", b"[DONE]"} else data
