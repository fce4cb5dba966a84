"""The part of the Admin service that operates adapters."""

import time
from collections.abc import AsyncIterator

from bellhousing.access import Access
from bellhousing.adapters import AdapterState, AdapterView, Change, Filter, Registration
from bellhousing.errors import InvalidRequest, Unsupported, Violation
from bellhousing.messages import adapter_message, duration_message
from bellhousing.models import Models, ServedModel
from bellhousing.services.calls import Context, streaming, unary
from bellhousing.status import sendable
from bellhousing.v1 import admin_pb2 as pb
from bellhousing.v1 import admin_pb2_grpc

MAX_PAGE, DEFAULT_PAGE = 1000, 100
CHANGES: dict[Change, pb.AdapterChange] = {
    "present": pb.ADAPTER_CHANGE_PRESENT,
    "registered": pb.ADAPTER_CHANGE_REGISTERED,
    "changed": pb.ADAPTER_CHANGE_CHANGED,
    "removed": pb.ADAPTER_CHANGE_REMOVED,
}
STATES: dict[int, AdapterState] = {
    pb.ADAPTER_STATE_REGISTERED: "registered",
    pb.ADAPTER_STATE_FETCHING: "fetching",
    pb.ADAPTER_STATE_HOST: "host",
    pb.ADAPTER_STATE_DEVICE: "device",
    pb.ADAPTER_STATE_FAILED: "failed",
}


class AdapterOperations(admin_pb2_grpc.AdminServicer):
    """Registers adapters, tells of them, and moves them. An operator sees those of every tenant."""

    def __init__(self, models: Models, access: Access) -> None:
        self._models = models
        self._access = access

    @unary
    async def RegisterAdapter(self, request: pb.RegisterAdapterRequest, context: Context) -> pb.RegisterAdapterResponse:
        """Make an adapter known."""
        model = self._registering(request.model, context)
        _require(request, "name", "source")
        view = await model.adapters.register(
            Registration(
                request.name,
                request.source,
                tenant=request.tenant,
                pinned=request.pinned,
                tags=tuple(request.tags),
                expected_digest=request.expected_digest,
            )
        )
        return pb.RegisterAdapterResponse(adapter=adapter_message(view))

    @streaming
    async def ImportAdapters(
        self, request: pb.ImportAdaptersRequest, context: Context
    ) -> AsyncIterator[pb.ImportAdaptersResponse]:
        """Register the adapters of a directory."""
        model = self._registering(request.model, context)
        _require(request, "source")
        template = Registration("", "", tenant=request.tenant, pinned=request.pinned, tags=tuple(request.tags))
        done, total = pb.ImportDone(), 0
        async for name, outcome, total in model.adapters.import_directory(
            request.source, template, request.name_prefix
        ):
            if isinstance(outcome, AdapterView):
                done.registered += 1
                yield pb.ImportAdaptersResponse(registered=adapter_message(outcome), total=total)
            else:
                done.refused += 1
                refused = pb.RefusedAdapter(name=sendable(name), reason=outcome.reason, message=sendable(str(outcome)))
                yield pb.ImportAdaptersResponse(refused=refused, total=total)
        yield pb.ImportAdaptersResponse(done=done, total=total)

    @unary
    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Context) -> pb.LoadAdapterResponse:
        """Bring an adapter onto the device."""
        model = self._adapting(request.model, context)
        began = time.monotonic()
        was_resident = (await model.adapters.look_up(request.name)).state == "device"
        view = await model.adapters.load(request.name)
        elapsed = 0.0 if was_resident else time.monotonic() - began
        return pb.LoadAdapterResponse(adapter=adapter_message(view), elapsed=duration_message(elapsed))

    @unary
    async def UnloadAdapter(self, request: pb.UnloadAdapterRequest, context: Context) -> pb.UnloadAdapterResponse:
        """Take an adapter off the device."""
        model = self._adapting(request.model, context)
        await model.adapters.unload(request.name, forget=request.forget, allow_missing=request.allow_missing)
        return pb.UnloadAdapterResponse()

    @unary
    async def PinAdapter(self, request: pb.PinAdapterRequest, context: Context) -> pb.PinAdapterResponse:
        """Pin an adapter, or free it."""
        model = self._adapting(request.model, context)
        view = await model.adapters.pin(request.name, pinned=request.pinned)
        return pb.PinAdapterResponse(adapter=adapter_message(view))

    @unary
    async def GetAdapter(self, request: pb.GetAdapterRequest, context: Context) -> pb.GetAdapterResponse:
        """Return one adapter."""
        view = await self.model(request.model, context).adapters.look_up(request.name)
        return pb.GetAdapterResponse(adapter=adapter_message(view))

    @unary
    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Context) -> pb.ListAdaptersResponse:
        """Return a page of adapters."""
        model = self.model(request.model, context)
        size = request.page_size or DEFAULT_PAGE
        if size > MAX_PAGE:
            raise InvalidRequest([Violation("page_size", f"must be at most {MAX_PAGE}, found {size}")])
        unknown = set(request.states).difference(STATES)
        if unknown:
            raise InvalidRequest([Violation("states", f"must be states of an adapter, found {min(unknown)}")])
        states = [STATES[state] for state in request.states]
        wanted = Filter(request.name_prefix, states, request.tenant, frozenset(request.tags), request.base_model)
        page, token = model.adapters.page(wanted, request.page_token, size)
        return pb.ListAdaptersResponse(adapters=map(adapter_message, page), next_page_token=token)

    @streaming
    async def WatchAdapters(
        self, request: pb.WatchAdaptersRequest, context: Context
    ) -> AsyncIterator[pb.WatchAdaptersResponse]:
        """Stream the adapters of now and their changes."""
        model = self.model(request.model, context)
        changes = model.adapters.watch(Filter(request.name_prefix, tenant=request.tenant, tags=tuple(request.tags)))
        try:
            for view in changes.present():
                yield pb.WatchAdaptersResponse(change=CHANGES["present"], adapter=adapter_message(view))
            yield pb.WatchAdaptersResponse(change=pb.ADAPTER_CHANGE_COMPLETE)
            while True:
                change, view = await changes.next()
                yield pb.WatchAdaptersResponse(change=CHANGES[change], adapter=adapter_message(view))
        finally:
            changes.close()

    def model(self, name: str, context: Context) -> ServedModel:
        """Return a model that the caller may operate. Raises what refuses the caller, and `NotFound`."""
        caller = self._access.caller(context, "admin")
        model = self._models.find(name)
        caller.check_model(model.name)
        return model

    def _adapting(self, name: str, context: Context) -> ServedModel:
        model = self.model(name, context)
        if model.info.capabilities.adapters == "none":
            raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) has no adapters")
        return model

    def _registering(self, name: str, context: Context) -> ServedModel:
        model = self._adapting(name, context)
        if model.info.capabilities.adapters == "static":
            raise Unsupported(
                f"the engine of model {model.name!r} ({model.info.engine}) takes adapters only when it starts"
            )
        return model


def _require(request: object, *fields: str) -> None:
    violations = [Violation(field, "must not be empty") for field in fields if not getattr(request, field)]
    if violations:
        raise InvalidRequest(violations)
