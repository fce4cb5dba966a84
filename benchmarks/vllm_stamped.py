"""The vLLM backend, noting when it called `AsyncLLM` and when that answered: what the rest of the path adds follows.

`VLLM_STAMPS` names the file of the notes. A backend is an entry point, and this one is of no distribution: `installed`
makes a directory that a process finds it by.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

from bellhousing.backend import ModelInfo
from bellhousing.events import Event, Progress
from bellhousing.requests import GenerationRequest
from bellhousing_vllm.backend import VllmBackend

NAME, FILE = "vllm-stamped", "VLLM_STAMPS"


class StampedVllm(VllmBackend):
    """Of each request a line of JSON: its id, when the backend was asked, and when `AsyncLLM` had its first tokens.

    What the backend does before it calls `AsyncLLM` is turning text to ids, which that does itself when it gets text.
    """

    name: ClassVar[str] = NAME

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Start vLLM, and note from then on."""
        self._called: dict[str, float] = {}
        info = await super().start(progress)
        self._notes = Path(os.environ[FILE]).open("a", buffering=1)  # noqa: ASYNC230, SIM115 - open as long as it runs
        running: Any = self._running()
        running._llm = _Noting(running._llm, self._note)  # noqa: SLF001 - between the backend and vLLM is no other place
        return info

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """See `Backend.generate`."""
        self._called[request.id] = time.perf_counter()
        async for event in super().generate(request):
            yield event

    def _note(self, request_id: str, first: float) -> None:
        self._notes.write(json.dumps([request_id, self._called.pop(request_id), first]) + "\n")


class _Noting:
    """`AsyncLLM`, whose first outputs are noted."""

    def __init__(self, llm: Any, note: Callable[[str, float], None]) -> None:
        self._llm, self._note = llm, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    async def generate(self, prompt: Any, parameters: Any, request_id: str, **named: Any) -> AsyncIterator[Any]:
        is_first = True
        async for output in self._llm.generate(prompt, parameters, request_id, **named):
            if is_first:
                first, is_first = time.perf_counter(), False
                yield output
                self._note(request_id, first)
            else:
                yield output


def installed(directory: Path) -> dict[str, str]:
    """Return the environment of a process that is to find the backend, and to note into the directory."""
    known = directory / "vllm_stamped-1.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-stamped\nVersion: 1\n")
    (known / "entry_points.txt").write_text(f"[bellhousing.backends]\n{NAME} = {__name__}:StampedVllm\n")
    paths = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), FILE: str(notes_of(directory))}


def notes_of(directory: Path) -> Path:
    """Return where the notes are."""
    return directory / "stamps.jsonl"


def seconds_in_engine(directory: Path) -> dict[str, float]:
    """Return of each request the seconds from asking the backend to `AsyncLLM`'s first tokens."""
    lines = [json.loads(line) for line in notes_of(directory).read_text().splitlines()]
    return {request_id: first - called for request_id, called, first in lines}
