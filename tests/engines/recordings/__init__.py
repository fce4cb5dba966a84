"""Exchanges recorded from real engines, one file each. What they are and how they were made: `INDEX.md` beside them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Engine = Literal["tgi", "ollama"]
_FRAMING = {"transfer-encoding", "content-length", "date", "connection"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One HTTP chunk, or one read of a body with a length; `at` is in seconds after the request was sent."""

    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """One exchange. `body` is the request's JSON value, its text where it is no JSON, None without one.

    `headers` are those that say nothing of the framing; `is_chunked` says that. `is_cut`: the client left at the end.
    """

    name: str
    method: str
    path: str
    body: Any
    status: int
    headers: Mapping[str, str]
    chunks: tuple[Chunk, ...]
    is_chunked: bool
    is_cut: bool

    @property
    def answer(self) -> bytes:
        """The whole body of the answer."""
        return b"".join(chunk.data for chunk in self.chunks)


@cache
def recording(engine: Engine, name: str) -> Recording:
    """Return one recording. Raises `FileNotFoundError`."""
    found = json.loads((Path(__file__).parent / engine / f"{name}.json").read_text(encoding="utf-8"))
    asked, answered = found["request"], found["response"]
    headers = {key.lower(): value for key, value in answered["headers"].items()}
    return Recording(
        name=name,
        method=asked["method"],
        path=asked["path"],
        body=value_of(asked["body"]),
        status=answered["status"],
        headers={key: value for key, value in headers.items() if key not in _FRAMING},
        chunks=tuple(Chunk(chunk["t_s"], chunk["data"].encode()) for chunk in answered["chunks"]),
        is_chunked="transfer-encoding" in headers,
        is_cut="client_closed_t_s" in answered or answered.get("ended", "complete") != "complete",
    )


def recordings(engine: Engine) -> Iterator[Recording]:
    """Yield every recording of an engine, by name."""
    for path in sorted((Path(__file__).parent / engine).glob("*.json")):
        yield recording(engine, path.stem)


def value_of(body: Any) -> Any:
    """Return the JSON value of a body given as text or bytes; the text itself where it is no JSON, None where empty."""
    if isinstance(body, bytes):
        body = body.decode()
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body
