"""An engine that answers with recorded exchanges, and with nothing else."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from tests.engines.recordings import Recording, value_of
from tests.engines.server import Answer, Asked, Cut, HttpServer, Pause, Steps, whole

Timing = Literal["none", "recorded"]
MISMATCH = 599
"""The status of what was not recorded: no engine answers it."""


class Replay:
    """Matches requests on method, path and body; JSON bodies are compared as values.

    Of several recordings of one request the first comes first, and the last again and again. `asked` is every request,
    `mismatches` describes those that no recording answers.
    """

    def __init__(self, recordings: Sequence[Recording], timing: Timing = "none") -> None:
        self._recordings = tuple(recordings)
        self._timing = timing
        self._played: set[str] = set()
        self.asked: list[Asked] = []
        self.mismatches: list[str] = []

    async def __call__(self, asked: Asked) -> Answer:
        """Answer as recorded, or with 599."""
        self.asked.append(asked)
        body = value_of(asked.body)
        matching = [
            one
            for one in self._recordings
            if (one.method, one.path) == (asked.method, asked.path) and _is_same(one.body, body)
        ]
        if not matching:
            self.mismatches.append(self._mismatch(asked))
            return whole(self.mismatches[-1].encode(), "text/plain; charset=utf-8", status=MISMATCH)
        chosen = next((one for one in matching if one.name not in self._played), matching[-1])
        self._played.add(chosen.name)
        length = None if chosen.is_chunked else len(chosen.answer)
        return Answer(lambda: self._steps(chosen), chosen.status, chosen.headers, length)

    async def _steps(self, played: Recording) -> Steps:
        now = 0.0
        for chunk in played.chunks:
            if self._timing == "recorded":
                yield Pause(max(0.0, chunk.at - now))
                now = chunk.at
            yield chunk.data
        if played.is_cut:
            yield Cut()

    def _mismatch(self, asked: Asked) -> str:
        here = [f"{one.name}: {_line(one.body)}" for one in self._recordings if one.path == asked.path]
        paths = sorted({f"{one.method} {one.path}" for one in self._recordings})
        known = "\n  ".join(here) if here else f"only {', '.join(paths)}"
        return f"asked {asked.method} {asked.path} {_line(value_of(asked.body))}; recorded there:\n  {known}"


@asynccontextmanager
async def replaying(
    *recordings: Recording, timing: Timing = "none", are_mismatches_expected: bool = False
) -> AsyncIterator[tuple[HttpServer, Replay]]:
    """Serve the recordings for the body, as fast as can be or with the recorded waits.

    Raises `AssertionError` at the end when something else was asked.
    """
    replay = Replay(recordings, timing)
    server = HttpServer(replay)
    await server.open()
    try:
        yield server, replay
    finally:
        await server.close()
    assert are_mismatches_expected or not replay.mismatches, "\n".join(replay.mismatches)


def _is_same(recorded: Any, asked: Any) -> bool:
    """Compare JSON values: 1 is 1.0 and, unlike in Python, true is not 1."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        return recorded.keys() == asked.keys() and all(_is_same(recorded[key], asked[key]) for key in recorded)
    if isinstance(recorded, list) and isinstance(asked, list):
        return len(recorded) == len(asked) and all(map(_is_same, recorded, asked))
    return isinstance(recorded, bool) == isinstance(asked, bool) and bool(recorded == asked)


def _line(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, sort_keys=True)
