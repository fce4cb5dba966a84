"""The Discovery service."""

import asyncio
from collections.abc import AsyncIterator

from bellhousing import __version__
from bellhousing.access import Access
from bellhousing.errors import InvalidRequest, Violation
from bellhousing.load import load_of
from bellhousing.messages import load_message, model_message
from bellhousing.models import Models, ServedModel
from bellhousing.services.calls import Context, streaming, unary
from bellhousing.v1 import discovery_pb2 as pb
from bellhousing.v1 import discovery_pb2_grpc

DEFAULT_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS = 1.0, 0.1


class DiscoveryService(discovery_pb2_grpc.DiscoveryServicer):
    """Tells what the server serves and how busy it is."""

    def __init__(self, models: Models, access: Access) -> None:
        self._models = models
        self._access = access

    @unary
    async def ListModels(self, _request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return every model that the caller may use."""
        caller = self._access.caller(context, "discovery")
        visible = [model for model in self._models if not caller.models or model.name in caller.models]
        return pb.ListModelsResponse(
            models=[model_message(model) for model in visible], server_version=__version__, contract_version="v1"
        )

    @unary
    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Return one model."""
        return pb.GetModelResponse(model=model_message(self._model(request.model, context)))

    @unary
    async def GetLoad(self, request: pb.GetLoadRequest, context: Context) -> pb.GetLoadResponse:
        """Return how busy a model is."""
        model, tenant = self._seen(request.model, context)
        return pb.GetLoadResponse(load=load_message(await load_of(model, tenant)))

    @streaming
    async def WatchLoad(self, request: pb.WatchLoadRequest, context: Context) -> AsyncIterator[pb.WatchLoadResponse]:
        """Return how busy a model is, again and again."""
        model, tenant = self._seen(request.model, context)
        interval = DEFAULT_INTERVAL_SECONDS
        if request.HasField("interval"):
            interval = request.interval.ToNanoseconds() / 1e9
            if interval < MIN_INTERVAL_SECONDS:
                fault = f"must be at least {MIN_INTERVAL_SECONDS:g} s, found {interval:g} s"
                raise InvalidRequest([Violation("interval", fault)])
        while True:
            yield pb.WatchLoadResponse(load=load_message(await load_of(model, tenant)))
            await asyncio.sleep(interval)

    def _model(self, name: str, context: Context) -> ServedModel:
        return self._seen(name, context)[0]

    def _seen(self, name: str, context: Context) -> tuple[ServedModel, str | None]:
        """Return a model and the tenant whose adapters the caller may know of, None for those of all."""
        caller = self._access.caller(context, "discovery")
        model = self._models.find(name)
        caller.check_model(model.name)
        return model, caller.sees
