"""What both TGI backends do once a router is there."""

from collections.abc import AsyncIterator, Mapping, Sequence

from bellhousing.attachment import until_unwell
from bellhousing.backend import Backend, EngineLoad, TokenPiece
from bellhousing.errors import ContextOverflow, EngineFault, EngineUnavailable, NotFound
from bellhousing.events import Event
from bellhousing.requests import Chat, GenerationRequest
from bellhousing_tgi.api import Api
from bellhousing_tgi.completion import Completion, request_body
from bellhousing_tgi.description import BOUNDS, Router
from bellhousing_tgi.errors import RETRY_SECONDS, dead, unreadable
from bellhousing_tgi.limits import Limits
from bellhousing_tgi.metrics import load_of
from bellhousing_tgi.prompts import Prompts


class RouterBackend(Backend):
    """Serves the model of a router over its native API."""

    bounds = BOUNDS

    _api: Api | None = None

    def _open(self, url: str, key: str) -> Api:
        """Make the client of a router; `stop` closes it."""
        self._api = Api(url, key, self.name)
        return self._api

    async def _asked(self, adapters: Mapping[str, str]) -> Router:
        """Ask the router what it is. Raises `EngineUnavailable` for one whose shards are not well."""
        api = self._running()
        info = await api.get("/info")
        if not await api.is_well():
            raise EngineUnavailable(
                "the TGI router says that it is not well", backend=self.name, retry_after=RETRY_SECONDS
            )
        try:
            self._limits = Limits.of(info)
            info["version"]
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable("`/info` of version 3", str(info), self.name) from error
        self._adapters = adapters
        self._prompts = await Prompts.of(api, self.name)
        return Router(
            info, self._limits, has_template=self._prompts.has_template, has_tokens=self._prompts.special is not None
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a generation. Closing it closes the connection, which ends the work within a step or two."""
        if request.adapter and request.adapter not in self._adapters:
            raise NotFound("adapter", request.adapter, self._adapters)
        api = self._running()
        prompt = await self._prompts.rendered(request.prompt, request)
        room = self._limits.room(len(prompt.ids))
        if room < 1:
            raise ContextOverflow(len(prompt.ids), self._limits.max_total_tokens, backend=self.name)
        body = request_body(request, prompt.text, room)
        completion = Completion(request, len(prompt.ids), room, self.name)
        try:
            async with api.generating(body, request) as found:
                async for event in found:
                    for ours in completion.events(event):
                        yield ours
        except EngineFault as error:
            if await api.is_well():
                raise
            raise dead(error, self.name) from error
        yield completion.finished()

    async def stop(self) -> None:
        """Close the connections."""
        api, self._api = self._api, None
        if api:
            await api.close()

    async def died(self) -> str:
        """Return when the router has not said that it is well several times in a row."""
        await until_unwell(self._running().is_well)
        return "the TGI router does not answer, or says that its engine is dead"

    async def load(self) -> EngineLoad:
        """Return the figures of the router's metrics."""
        return load_of(await self._running().text("/metrics"))

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens that `generate` would use."""
        return await self._prompts.tokens(prompt, add_special=add_special)

    def _running(self) -> Api:
        if self._api is None:
            raise RuntimeError("the backend was not started")
        return self._api
