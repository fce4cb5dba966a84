"""The HTTP client of an engine's own server. Only backends that need it import this; they bring aiohttp.

Not httpx, which takes about a millisecond of processor time more for each request: as much as the rest of the way.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

QUICK_SECONDS = 30.0
"""For answers that need no generation, and for connecting. A stream may be silent for as long as the server queues."""
HEALTH_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""How long an idle connection is used again: some servers close theirs after 5 s, and no request may meet that."""
_JSON = {"Content-Type": "application/json"}
_STREAMING = aiohttp.ClientTimeout(total=None, sock_connect=QUICK_SECONDS)


class Unanswered(Exception):
    """A server that could not be reached, answered too late or broke off; the message says which."""

    def __init__(self, error: Exception) -> None:
        what = re.sub(r"\s+", " ", str(error)) or "no answer"
        super().__init__(f"{type(error).__name__}: {what}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def text(self) -> str:
        """Return the content as UTF-8; what is none of it is replaced."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """Return the content read as JSON. Raises `ValueError`."""
        return json.loads(self.content)


class StreamedAnswer:
    """An answer whose head has come, and whose body has not been read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.content_type = response.headers.get("content-type", "")
        self._response = response

    async def read(self) -> bytes:
        """Return the whole body."""
        return await self._response.read()

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body's bytes as they come."""
        return self._response.content.iter_any()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield each line that is not empty, of whatever length, without its end."""
        waiting = b""
        async for chunk in self.chunks():
            *lines, waiting = (waiting + chunk).split(b"\n")
            for line in lines:
                if stripped := line.rstrip(b"\r"):
                    yield stripped
        if waiting.strip():
            yield waiting


class EngineHttp:
    """A client of one server. It has no bound on connections, since core bounds the requests. Close it after use."""

    def __init__(self, url: str, key: str = "") -> None:
        """Ask the server at `url`; `key` is a bearer token."""
        self.url = url.rstrip("/")
        self._headers = {"Accept-Encoding": "identity"}  # frames are too small to compress
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._opened:
            await self._opened.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content: AsyncIterator[bytes] | None = None,
        patience: float | None = QUICK_SECONDS,
    ) -> Answer:
        """Return the answer to a body in JSON, or to content, within `patience` seconds, None for any time.

        Raises `Unanswered`.
        """
        timeout = aiohttp.ClientTimeout(total=patience, sock_connect=QUICK_SECONDS)
        sent: dict[str, Any] = {"data": content} if content else {"json": body} if body is not None else {}
        try:
            async with self._session.request(
                method, self.url + path, timeout=timeout, allow_redirects=False, **sent
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unanswered(error) from error

    @asynccontextmanager
    async def streaming(self, path: str, body: object) -> AsyncIterator[StreamedAnswer]:
        """Yield the answer to a body in JSON once its head has come; leaving early closes the connection.

        Bytes are JSON already. Raises `Unanswered`, also while the body is read.
        """
        sent: dict[str, Any] = {"data": body, "headers": _JSON} if isinstance(body, bytes) else {"json": body}
        try:
            async with self._session.post(
                self.url + path, timeout=_STREAMING, allow_redirects=False, **sent
            ) as response:
                yield StreamedAnswer(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unanswered(error) from error

    async def is_well(self, path: str) -> bool:
        """Tell whether the server answers a path with 200 within a few seconds; one that hangs never does."""
        try:
            return (await self.ask("GET", path, patience=HEALTH_SECONDS)).status == 200
        except Unanswered:
            return False

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:  # it belongs to the loop that runs, and there is none where backends are made
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
            self._opened = aiohttp.ClientSession(
                # Environment variables for proxies are not for an engine next door, and cookies are nobody's.
                connector=connector, headers=self._headers, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )  # fmt: skip
        return self._opened
