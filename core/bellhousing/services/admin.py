"""The Admin service."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from bellhousing.access import Access
from bellhousing.adapters import AdapterEntry
from bellhousing.errors import Cancelled, InvalidRequest, NotFound, Unsupported, Violation
from bellhousing.events import Progress
from bellhousing.messages import adapter_message, duration_message
from bellhousing.models import Models, ServedModel
from bellhousing.services.calls import Context, streaming, unary
from bellhousing.v1 import admin_pb2 as pb
from bellhousing.v1 import admin_pb2_grpc

MAX_PAGE, DEFAULT_PAGE = 1000, 100
Drain = Callable[[float | None], Awaitable[int]]


class AdminService(admin_pb2_grpc.AdminServicer):
    """Operates the server. `drain` begins a drain with a grace in seconds and returns the requests in flight."""

    def __init__(self, models: Models, access: Access, drain: Drain, grace_seconds: float) -> None:
        self._models = models
        self._access = access
        self._drain = drain
        self._grace_seconds = grace_seconds

    @streaming
    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> AsyncIterator[pb.LoadModelResponse]:
        """Load a model, with progress."""
        model = self._model(request.model, context)
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
        model = self._model(request.model, context)
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else self._grace_seconds
        waiting = Progress("draining", 0, len(model.in_flight), "requests")
        yield pb.UnloadModelResponse(progress=_progress(waiting))
        ended = await model.unload(grace)
        yield pb.UnloadModelResponse(unloaded=pb.ModelUnloaded(ended_requests=ended))

    @unary
    async def Sleep(self, request: pb.SleepRequest, context: Context) -> pb.SleepResponse:
        """Put a model to sleep."""
        model = self._model(request.model, context)
        if request.level > 2:
            raise InvalidRequest([Violation("level", f"must be 1 or 2, found {request.level}")])
        if not model.info.capabilities.sleep:
            raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) cannot sleep")
        await model.sleep(request.level or 1)
        return pb.SleepResponse()

    @unary
    async def Wake(self, request: pb.WakeRequest, context: Context) -> pb.WakeResponse:
        """Wake a model."""
        model = self._model(request.model, context)
        if not model.info.capabilities.sleep:
            raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) cannot sleep")
        await model.wake()
        return pb.WakeResponse()

    @unary
    async def RegisterAdapter(self, request: pb.RegisterAdapterRequest, context: Context) -> pb.RegisterAdapterResponse:
        """Make an adapter known."""
        model = self._adapting(request.model, context)
        if model.info.capabilities.adapters == "static":
            raise Unsupported(
                f"the engine of model {model.name!r} ({model.info.engine}) takes adapters only when it starts"
            )
        violations = [Violation(f, "must not be empty") for f in ("name", "source") if not getattr(request, f)]
        if violations:
            raise InvalidRequest(violations)
        entry = AdapterEntry(request.name, request.source, tenant=request.tenant, pinned=request.pinned)
        known = await asyncio.to_thread(model.adapters.register, entry, request.expected_digest)
        return pb.RegisterAdapterResponse(adapter=adapter_message(known, model.name))

    @unary
    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Context) -> pb.LoadAdapterResponse:
        """Bring an adapter onto the device."""
        model = self._adapting(request.model, context)
        began = time.monotonic()
        was_resident = model.adapters.find(request.name).state == "device"
        entry = await model.adapters.load(request.name, model.backend)
        elapsed = 0.0 if was_resident else time.monotonic() - began
        return pb.LoadAdapterResponse(adapter=adapter_message(entry, model.name), elapsed=duration_message(elapsed))

    @unary
    async def UnloadAdapter(self, request: pb.UnloadAdapterRequest, context: Context) -> pb.UnloadAdapterResponse:
        """Take an adapter off the device."""
        model = self._adapting(request.model, context)
        await model.adapters.unload(request.name, model.backend, forget=request.forget)
        return pb.UnloadAdapterResponse()

    @unary
    async def PinAdapter(self, request: pb.PinAdapterRequest, context: Context) -> pb.PinAdapterResponse:
        """Pin an adapter, or free it."""
        model = self._adapting(request.model, context)
        entry = model.adapters.find(request.name)
        entry.pinned = request.pinned
        return pb.PinAdapterResponse(adapter=adapter_message(entry, model.name))

    @unary
    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Context) -> pb.ListAdaptersResponse:
        """Return a page of adapters."""
        model = self._model(request.model, context)
        size = request.page_size or DEFAULT_PAGE
        if size > MAX_PAGE:
            raise InvalidRequest([Violation("page_size", f"must be at most {MAX_PAGE}, found {size}")])
        messages = [adapter_message(entry, model.name) for entry in model.adapters.after(request.page_token)]
        wanted = [
            message
            for message in messages
            if message.name.startswith(request.name_prefix) and (not request.states or message.state in request.states)
        ]
        page = wanted[:size]
        return pb.ListAdaptersResponse(adapters=page, next_page_token=page[-1].name if len(wanted) > size else "")

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

    def _model(self, name: str, context: Context) -> ServedModel:
        caller = self._access.caller(context, "admin")
        model = self._models.find(name)
        caller.check_model(model.name)
        return model

    def _adapting(self, name: str, context: Context) -> ServedModel:
        model = self._model(name, context)
        if model.info.capabilities.adapters == "none":
            raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) has no adapters")
        return model


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
