"""The HTTP API of a vLLM server: what is asked, and its failures as our errors."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from bellhousing.errors import (
    BellhousingError,
    EngineFault,
    EngineUnavailable,
    Overloaded,
    PermissionDenied,
)
from bellhousing.http import QUICK_SECONDS, Answer, EngineHttp, StreamedAnswer, Unanswered
from bellhousing.requests import GenerationRequest
from bellhousing_vllm.errors import RETRY_SECONDS, invalid

NAME = "vllm-attached"
_EMPTY = GenerationRequest("", "")


class Api:
    """One server. Close it after use."""

    def __init__(self, url: str, key: str) -> None:
        self._http = EngineHttp(url, key)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def get(self, path: str) -> Any:
        """Return a JSON answer."""
        return (await self._sent("GET", path)).json()

    async def text(self, path: str) -> str:
        """Return an answer as text."""
        return (await self._sent("GET", path)).text()

    async def post(self, path: str, body: object, *, patience: float = QUICK_SECONDS) -> Answer:
        """Return the answer to a JSON body within `patience` seconds."""
        return await self._sent("POST", path, body=body, patience=patience)

    async def has(self, path: str) -> bool:
        """Tell whether the server takes POST on a path: an empty body is then refused for another reason than 404."""
        try:
            found = await self._http.ask("POST", path, body={})
        except Unanswered as error:
            raise gone(error) from error
        return found.status not in {404, 405}

    async def is_well(self) -> bool:
        """Tell whether the server says that its engine lives."""
        return await self._http.is_well("/health")

    @asynccontextmanager
    async def stream(self, path: str, body: object, request: GenerationRequest) -> AsyncIterator[AsyncIterator[Any]]:
        """Yield the JSON events of a stream; leaving early closes the connection, which ends the work there.

        Raises what the server answers, also inside the stream.
        """
        try:
            async with self._http.streaming(path, body) as answer:
                if answer.status != 200:
                    raise error_of(answer.status, await answer.read(), request)
                async with aclosing(_events(answer, request)) as events:  # type: ignore[type-var]
                    yield events
        except Unanswered as error:
            raise gone(error) from error

    async def _sent(self, method: str, path: str, **more: Any) -> Answer:
        try:
            answer = await self._http.ask(method, path, **more)
        except Unanswered as error:
            raise gone(error) from error
        if answer.status != 200:
            raise error_of(answer.status, answer.content, _EMPTY)
        return answer


async def _events(answer: StreamedAnswer, request: GenerationRequest) -> AsyncIterator[Any]:
    async for line in answer.lines():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            found = event["error"]
            code = found.get("code") if isinstance(found, dict) else None
            raise error_of(code if isinstance(code, int) else 500, line[6:], request)
        yield event


def error_of(status: int, body: bytes, request: GenerationRequest) -> BellhousingError:
    """Return the error of an answer that is none of success."""
    message, kind, parameter = _read(body)
    code = kind or str(status)
    if status in {400, 422}:
        return invalid(message, parameter, request, backend=NAME, code=code)
    if status in {401, 403}:
        return PermissionDenied(f"the vLLM server refuses our key: HTTP {status}", backend=NAME, engine_code=code)
    if status == 429:
        return Overloaded("the vLLM server is full", backend=NAME, engine_code=code, retry_after=RETRY_SECONDS)
    if status in {502, 503, 504}:
        return EngineUnavailable(
            f"the vLLM server is not ready: {message}", backend=NAME, engine_code=code, retry_after=RETRY_SECONDS
        )
    return EngineFault(f"the vLLM server answered HTTP {status}: {message}", backend=NAME, engine_code=code)


def _read(body: bytes) -> tuple[str, str, str]:
    """Return the message, the type and the parameter of an error's body; versions differ in where they are."""
    try:
        found = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500], "", ""
    inner = found.get("error", found) if isinstance(found, dict) else {"message": str(found)}
    if not isinstance(inner, dict):
        return str(inner), "", ""
    return str(inner.get("message") or inner), str(inner.get("type") or ""), str(inner.get("param") or "")


def gone(error: Unanswered) -> EngineUnavailable:
    """Return the error of a server that does not answer, or broke off."""
    return EngineUnavailable(f"the vLLM server does not answer: {error}", backend=NAME, retry_after=RETRY_SECONDS)
