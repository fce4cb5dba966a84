"""Ollama's HTTP API: what is asked, and its failures as our errors.

Not over the `ollama` package: it has no `truncate` and `shift` for generation, drops the bytes of log probabilities and
the cached tokens, takes a stream for whole that ends without its last line, posts files that are there already (which
Ollama answers by breaking the connection), and sends a key from the environment to whatever server it is given.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bellhousing.errors import BellhousingError
from bellhousing.http import QUICK_SECONDS, EngineHttp, Unanswered
from bellhousing.requests import GenerationRequest
from bellhousing_ollama.errors import broken, error_of, error_of_message, gone

CHUNK_BYTES = 1 << 20


class Api:
    """One server. Close it after use."""

    def __init__(self, url: str, key: str = "") -> None:
        self._http = EngineHttp(url, key)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def is_well(self) -> bool:
        """Tell whether the server answers."""
        return await self._http.is_well("/api/version")

    async def get(self, path: str) -> dict[str, Any]:
        """Return a JSON answer."""
        return await self._asked("GET", path)

    async def post(self, path: str, body: object, *, patience: float = QUICK_SECONDS) -> dict[str, Any]:
        """Return the JSON answer to a JSON body within `patience` seconds. Raises an error that the answer tells."""
        return await self._asked("POST", path, body=body, patience=patience)

    async def version(self) -> str:
        """Return the server's version."""
        return str((await self.get("/api/version")).get("version", ""))

    async def models(self) -> list[str]:
        """Return the names of the models that the server has."""
        return [str(model["name"]) for model in (await self.get("/api/tags")).get("models") or ()]

    async def loaded(self) -> dict[str, dict[str, Any]]:
        """Return the models that are loaded now, by name."""
        return {str(model["name"]): model for model in (await self.get("/api/ps")).get("models") or ()}

    async def delete(self, model: str) -> None:
        """Delete a model, and what no other model needs of it."""
        await self._asked("DELETE", "/api/delete", body={"model": model})

    async def upload(self, file: Path, digest: str) -> None:
        """Bring a file into the server's store, unless it is there."""
        path = f"/api/blobs/{digest}"
        try:
            if (await self._http.ask("HEAD", path)).status == 200:
                return
            answer = await self._http.ask("POST", path, content=_chunks(file), patience=None)
        except Unanswered as error:
            raise gone(error) from error
        if answer.status not in {200, 201}:
            raise error_of(answer.status, answer.content)

    @asynccontextmanager
    async def lines(
        self, path: str, body: object, request: GenerationRequest | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the lines of a stream; leaving early closes the connection, which ends the work there.

        Raises what the server answers instead of a stream.
        """
        try:
            async with self._http.streaming(path, body) as answer:
                if answer.status != 200:
                    raise error_of(answer.status, await answer.read(), request)
                if not answer.content_type.startswith(("application/x-ndjson", "application/json")):
                    raise broken(answer.content_type or "no content type", "lines of JSON")
                async with aclosing(answer.lines()) as lines:  # type: ignore[type-var]
                    yield lines
        except Unanswered as error:
            raise gone(error) from error

    async def steps(self, path: str, body: object) -> AsyncIterator[dict[str, Any]]:
        """Yield the steps of a long operation, the last of which says "success"; raises any other end of it."""
        status = ""
        async with self.lines(path, body) as lines:
            async for line in lines:
                step = _object(line)
                if "error" in step:
                    raise error_of_message(500, str(step["error"]))
                status = str(step.get("status", ""))
                yield step
        if status != "success":
            raise broken(f"{status!r} as the last step", "a last step 'success'")

    async def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = await self._http.ask(method, path, **more)
        except Unanswered as error:
            raise gone(error) from error
        if answer.status != 200:
            raise error_of(answer.status, answer.content)
        found = _object(answer.content) if answer.content else {}
        if "error" in found:
            raise error_of_message(500, str(found["error"]))
        return found


def full_name(model: str) -> str:
    """Return a model's name as Ollama lists it, with its tag; empty for none."""
    return model if not model or ":" in model.rpartition("/")[2] else f"{model}:latest"


async def quietly_deleted(api: Api, model: str) -> None:
    """Delete a model that may be half made, or not there."""
    with suppress(BellhousingError):
        await api.delete(model)


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        while chunk := await asyncio.to_thread(source.read, CHUNK_BYTES):
            yield chunk


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise broken(repr(text[:80]), "a JSON object") from error
    if not isinstance(found, dict):
        raise broken(type(found).__name__, "a JSON object")
    return found
