"""The native HTTP API of a TGI router. Its OpenAI routes are not used: their streams lose the type of an error."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from bellhousing.http import Answer, EngineHttp, StreamedAnswer, Unanswered
from bellhousing.requests import GenerationRequest
from bellhousing_tgi.errors import error_of, error_of_frame, unreachable, unreadable

_EMPTY = GenerationRequest("", "")


class Api:
    """One router; `backend` is the name in errors. Close it after use."""

    def __init__(self, url: str, key: str, backend: str) -> None:
        self._backend = backend
        self._http = EngineHttp(url, key)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def get(self, path: str) -> Any:
        """Return a JSON answer."""
        return self._json(await self._sent("GET", path, _EMPTY))

    async def text(self, path: str) -> str:
        """Return an answer as text."""
        return (await self._sent("GET", path, _EMPTY)).text()

    async def post(self, path: str, body: object, request: GenerationRequest = _EMPTY) -> Any:
        """Return the JSON answer to a JSON body, sent on behalf of a request."""
        return self._json(await self._sent("POST", path, request, body=body))

    async def is_well(self) -> bool:
        """Tell whether the router says within a few seconds that its shards live."""
        return await self._http.is_well("/health")

    @asynccontextmanager
    async def generating(self, body: object, request: GenerationRequest) -> AsyncIterator[AsyncIterator[Any]]:
        """Yield the JSON events of a generation; leaving early closes the connection, which ends the work there.

        Raises what the router answers, also inside the stream.
        """
        try:
            async with self._http.streaming("/generate_stream", body) as answer:
                if answer.status != 200:
                    raise error_of(answer.status, await answer.read(), request, self._backend)
                if not answer.content_type.startswith("text/event-stream"):
                    found = (await answer.read()).decode(errors="replace")
                    raise unreadable("a stream of events", found, self._backend)
                async with aclosing(self._events(answer, request)) as events:  # type: ignore[type-var]
                    yield events
        except Unanswered as error:
            raise unreachable(error, self._backend) from error

    async def _events(self, answer: StreamedAnswer, request: GenerationRequest) -> AsyncIterator[Any]:
        async for line in answer.lines():
            if line.startswith(b"data:"):
                yield self._event(line[5:], request)
            elif not line.startswith(b":"):
                raise unreadable("an event", line.decode(errors="replace"), self._backend)

    def _event(self, data: bytes, request: GenerationRequest) -> Any:
        try:
            event = json.loads(data)
        except ValueError as error:
            raise unreadable("an event in JSON", data.decode(errors="replace"), self._backend) from error
        if not isinstance(event, dict):
            raise unreadable("an object in an event", data.decode(errors="replace"), self._backend)
        if "error" in event:
            raise error_of_frame(str(event["error"]), str(event.get("error_type") or ""), request, self._backend)
        return event

    async def _sent(self, method: str, path: str, request: GenerationRequest, **more: Any) -> Answer:
        try:
            answer = await self._http.ask(method, path, **more)
        except Unanswered as error:
            raise unreachable(error, self._backend) from error
        if answer.status != 200:
            raise error_of(answer.status, answer.content, request, self._backend)
        return answer

    def _json(self, answer: Answer) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise unreadable("JSON", answer.text(), self._backend) from error
