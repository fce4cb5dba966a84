"""What the scripted engines share: routes, faults for the next requests, and what became of each stream."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from tests.engines.faults import Fault
from tests.engines.server import Answer, Asked, HttpServer, Steps

WORDS = ("the", "capital", "of", "a", "river", "grüne", "世界", "is", "blue", "and", "far", "away")


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the script: its bytes may end inside a character."""

    id: int
    piece: bytes
    logprob: float = -0.5


def script_of(prompt: str, seed: int | None, adapter: str = "") -> Iterator[Token]:
    """Yield tokens without end: always the same for the same prompt, seed and adapter."""
    state = hashlib.sha256(f"{prompt}\0{seed}\0{adapter}".encode()).digest()
    while True:
        state = hashlib.sha256(state).digest()
        word = state[0] % len(WORDS)
        piece = f" {WORDS[word]}".encode()
        if piece.isascii():
            yield Token(100 + word, piece, -state[1] / 64)
        else:
            # As byte-level vocabularies do: what no token holds whole comes in two that cut its last character.
            yield Token(100 + word, piece[:-1], -state[1] / 64)
            yield Token(200 + word, piece[-1:], -state[2] / 64)


def spelled(text: str) -> list[Token]:
    """Return tokens whose bytes are the text: one a byte."""
    return [Token(byte, bytes([byte])) for byte in text.encode()]


class ScriptedEngine(ABC):
    """An engine that follows a script, behind its own HTTP API.

    `asked` is every request; `running` the number of streams now, `left` of those whose client left before the end.
    With `hold` a stream stops before its token of that number (from 0) until `release` is set. With `failure` every
    stream sends that frame in place of its next and ends.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.running = 0
        self.left = 0
        self.hold: int | None = None
        self.release = asyncio.Event()
        self.failure: bytes | None = None
        self._faults: dict[str, deque[Fault]] = {}

    def fault(self, path: str, *faults: Fault) -> None:
        """Let the next requests at `path` go wrong, one fault each, in order."""
        self._faults.setdefault(path, deque()).extend(faults)

    async def __call__(self, asked: Asked) -> Answer:
        """Answer as the engine does, unless a fault is due."""
        self.asked.append(asked)
        answer = await self.answer(asked)
        due = self._faults.get(asked.path)
        return due.popleft()(answer) if due else answer

    @abstractmethod
    async def answer(self, asked: Asked) -> Answer:
        """Return the right answer."""

    def bodies(self, path: str) -> list[Asked]:
        """Return the requests at a path, in order."""
        return [asked for asked in self.asked if asked.path == path]

    async def streamed(self, frames: Sequence[bytes]) -> Steps:
        """Yield frames, and count the stream as running meanwhile."""
        self.running += 1
        has_ended = False
        try:
            for number, frame in enumerate(frames):
                if number == self.hold:
                    await self.release.wait()
                if self.failure is not None:
                    yield self.failure
                    break
                yield frame
                await asyncio.sleep(0)
            has_ended = True
        finally:
            self.running -= 1
            self.left += not has_ended

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[tuple[HttpServer, Self]]:
        """Serve on a loopback port for the body, a free one unless told."""
        server = HttpServer(self, port)
        await server.open()
        try:
            yield server, self
        finally:
            self.release.set()
            await server.close()
