"""The server's side of an engine process: a Backend that forwards everything to it."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from pydantic import BaseModel

from bellhousing.backend import AdapterFiles, Backend, EmbeddingResult, EngineLoad, ModelInfo, TokenPiece
from bellhousing.errors import EngineUnavailable, Unsupported
from bellhousing.events import Event, Progress
from bellhousing.process import frames
from bellhousing.process.frames import Frame
from bellhousing.process.spawn import EngineProcess
from bellhousing.requests import Chat, GenerationRequest
from bellhousing.settings import ModelSpec

logger = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
"""When a client may come back after a death: core starts the engine again at once, and loading takes its time."""


class _Stream:
    """Frames of one generation that have come and were not taken yet.

    The socket serves all streams, so it is never held up for one: what waits here is bounded by the request's own
    output, and the pump of the request empties it at once.
    """

    def __init__(self) -> None:
        self.waiting: deque[Frame] = deque()
        self.wakeup: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        self.waiting.append(frame)
        if self.wakeup and not self.wakeup.done():
            self.wakeup.set_result(None)

    async def wait(self) -> None:
        while not self.waiting:
            self.wakeup = asyncio.get_running_loop().create_future()
            await self.wakeup


class ProcessBackend(Backend):
    """Runs a backend class in a process of its own. Same promises as `Backend`; a crash is `EngineUnavailable`."""

    def __init__(self, backend_class: type[Backend], spec: ModelSpec, options: BaseModel) -> None:
        super().__init__(spec, options)
        self._class = backend_class
        self._process = EngineProcess(spec.name, self._received)
        self._streams: dict[int, _Stream] = {}
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._progress: Callable[[Progress], None] = lambda _: None
        self._own_death: asyncio.Future[str] | None = None

    @property
    def pid(self) -> int | None:
        """The engine process's id; None while there is none."""
        return self._process.pid

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Start the process and load the model in it. Raises what the backend raises; leaves no process then."""
        self._progress = progress
        self._own_death = asyncio.get_running_loop().create_future()
        try:
            await self._process.start()
            self._process.gone.add_done_callback(self._died)
            ready = self._calls[0] = asyncio.get_running_loop().create_future()
            init = frames.Init(
                frames.VERSION,
                f"{self._class.__module__}:{self._class.__qualname__}",
                self.spec.model_dump_json(),
                cast("BaseModel", self.options).model_dump_json(),
            )
            self._process.send(frames.encode("init", value=init))
            return cast("ModelInfo", await ready)
        except BaseException:
            await self.stop()
            raise

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Yield the events of the backend in the engine process."""
        number = self._begin()
        stream = self._streams[number] = _Stream()
        is_over = False
        try:
            self._process.send(frames.encode("generate", number, value=request))
            while not is_over:
                await stream.wait()
                while stream.waiting:
                    frame = stream.waiting.popleft()
                    if frame.kind == "event":
                        yield frames.decode_event(frame)
                        continue
                    is_over = True
                    if frame.kind == "error":
                        raise frames.error_from(frames.decode(frame.body, frames.ErrorBody))
                    break
        finally:
            del self._streams[number]
            if not is_over:
                self._process.send(frames.encode("cancel", number))

    async def stop(self) -> None:
        """End the process, gently at first."""
        await self._process.stop(frames.encode("stop"))

    async def died(self) -> str:
        """Return why the process, or the engine in it, has died."""
        if self._own_death is None:
            raise RuntimeError("died() before start()")
        await asyncio.wait({self._process.gone, self._own_death}, return_when=asyncio.FIRST_COMPLETED)
        if self._process.is_stopping:
            await asyncio.Event().wait()
        return self._own_death.result() if self._own_death.done() else self._process.gone.result()

    async def load(self) -> EngineLoad:
        """Return the engine's own load."""
        return cast("EngineLoad", await self._call("load"))

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens of the prompt."""
        return cast("list[TokenPiece]", await self._call("tokenize", prompt, add_special))

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of the ids."""
        return cast("bytes", await self._call("detokenize", list(ids)))

    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        """Return the vector of one input."""
        return cast("EmbeddingResult", await self._call("embed", prompt, truncate))

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Bring an adapter onto the device."""
        await self._call("load_adapter", adapter)

    async def unload_adapter(self, name: str) -> None:
        """Take an adapter off the device."""
        await self._call("unload_adapter", name)

    async def sleep(self, level: int) -> None:
        """Free the device's memory."""
        await self._call("sleep", level)

    async def wake(self) -> None:
        """Undo `sleep`."""
        await self._call("wake")

    async def _call(self, name: str, *arguments: object) -> object:
        number = self._begin()
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self._process.send(frames.encode("call", number, name, arguments))
            return await future
        except asyncio.CancelledError:
            self._process.send(frames.encode("cancel", number))
            raise
        finally:
            self._calls.pop(number, None)

    def _begin(self) -> int:
        """Return a new stream number. Raises `EngineUnavailable` when there is no process."""
        if not self._process.is_running:
            raise self._unavailable("is not running")
        self._last += 1
        return self._last

    def _unavailable(self, what: str) -> EngineUnavailable:
        message = f"the engine of model {self.spec.name!r} {what}"
        return EngineUnavailable(message, reason="ENGINE_DIED", retry_after=RESTART_SECONDS)

    def _received(self, frame: Frame) -> None:
        if frame.stream in self._streams:
            self._streams[frame.stream].put(frame)
        elif frame.kind == "progress":
            self._progress(frames.decode(frame.body, frames.PROGRESS))
        elif frame.kind == "died":
            if self._own_death and not self._own_death.done():
                self._own_death.set_result(frames.decode(frame.body, str))
        elif frame.stream in self._calls:
            self._answer(self._calls[frame.stream], frame)

    def _answer(self, future: "asyncio.Future[Any]", frame: Frame) -> None:
        if future.done():
            return
        if frame.kind == "ready":
            future.set_result(frames.decode(frame.body, frames.MODEL_INFO))
        elif frame.kind == "result":
            future.set_result(frames.decode(frame.body, frames.RESULTS[frame.name]))
        elif frame.kind == "unimplemented":
            future.set_exception(Unsupported("the backend has no such operation"))
        else:
            future.set_exception(frames.error_from(frames.decode(frame.body, frames.ErrorBody)))

    def _died(self, gone: "asyncio.Future[str]") -> None:
        """End every stream and call of a process that is gone."""
        error = frames.error_body(self._unavailable(f"died: {gone.result()}"))
        frame = next(frames.Parser().feed(frames.encode("error", value=error)))
        for stream in self._streams.values():
            stream.put(frame)
        for future in self._calls.values():
            self._answer(future, frame)
