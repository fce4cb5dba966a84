"""The Admin service."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from bellhousing.access import Access
from bellhousing.errors import Cancelled, InvalidRequest, NotFound, Unsupported, Violation
from bellhousing.events import Progress
from bellhousing.messages import duration_message
from bellhousing.models import Models
from bellhousing.services.adapters import AdapterOperations
from bellhousing.services.calls import Context, streaming, unary
from bellhousing.v1 import admin_pb2 as pb

Drain = Callable[[float | None], Awaitable[int]]


class AdminService(AdapterOperations):
    """Operates the server. `drain` begins a drain with a grace in seconds and returns the requests in flight."""

    def __init__(self, models: Models, access: Access, drain: Drain, grace_seconds: float) -> None:
        super().__init__(models, access)
        self._drain = drain
        self._grace_seconds = grace_seconds

    @streaming
    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> AsyncIterator[pb.LoadModelResponse]:
        """Load a model, with progress."""
        model = self.model(request.model, context)
        began = time.monotonic()
        async for progress in _reported(model.load):
            yield pb.LoadModelResponse(progress=_progress(progress))
        loaded = pb.ModelLoaded(instance_id=model.instance_id, elapsed=duration_message(time.monotonic() - began))
        yield pb.LoadModelResponse(loaded=loaded)

    @streaming
    async def UnloadModel(
        self, request: pb.UnloadModelRequest, context: Context
    ) -> AsyncIterator[pb.UnloadModelResponse]:
        """Unload a model once its requests have finished, or at the end of the grace."""
        model = self.model(request.model, context)
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else self._grace_seconds
        waiting = Progress("draining", 0, len(model.in_flight), "requests")
        yield pb.UnloadModelResponse(progress=_progress(waiting))
        ended = await model.unload(grace)
        yield pb.UnloadModelResponse(unloaded=pb.ModelUnloaded(ended_requests=ended))

    @unary
    async def Sleep(self, request: pb.SleepRequest, context: Context) -> pb.SleepResponse:
        """Put a model to sleep."""
        model = self.model(request.model, context)
        if request.level > 2:
            raise InvalidRequest([Violation("level", f"must be 1 or 2, found {request.level}")])
        if not model.info.capabilities.sleep:
            raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) cannot sleep")
        await model.sleep(request.level or 1)
        return pb.SleepResponse()

    @unary
    async def Wake(self, request: pb.WakeRequest, context: Context) -> pb.WakeResponse:
        """Wake a model."""
        model = self.model(request.model, context)
        if not model.info.capabilities.sleep:
            raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) cannot sleep")
        await model.wake()
        return pb.WakeResponse()

    @unary
    async def Abort(self, request: pb.AbortRequest, context: Context) -> pb.AbortResponse:
        """End a request in flight."""
        self._access.caller(context, "admin")
        for model in self._models:
            generation = model.in_flight.get(request.request_id)
            if generation:
                generation.fail(Cancelled("an operator ended the request"))
                return pb.AbortResponse()
        raise NotFound("request", request.request_id)

    @unary
    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:
        """Begin to drain the server."""
        self._access.caller(context, "admin")
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else None
        return pb.DrainResponse(in_flight=await self._drain(grace))


def _progress(progress: Progress) -> pb.Progress:
    return pb.Progress(stage=progress.stage, done=progress.done, total=progress.total, unit=progress.unit)


async def _reported(work: Callable[[Callable[[Progress], None]], Awaitable[None]]) -> AsyncIterator[Progress]:
    """Run `work` and yield what it reports. Raises what it raises."""
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[Progress | None] = asyncio.Queue()

    def report(progress: Progress) -> None:
        loop.call_soon_threadsafe(reports.put_nowait, progress)

    task = asyncio.ensure_future(work(report))
    task.add_done_callback(lambda _: reports.put_nowait(None))
    while (progress := await reports.get()) is not None:
        yield progress
    await task
