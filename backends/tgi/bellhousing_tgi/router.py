"""What both TGI backends do once a router is there."""

from collections.abc import AsyncIterator, Sequence

from bellhousing.attachment import until_unwell
from bellhousing.backend import Backend, EngineLoad, TokenPiece
from bellhousing.errors import ContextOverflow, EngineFault, NotFound
from bellhousing.events import Event
from bellhousing.requests import Chat, GenerationRequest
from bellhousing_tgi.completion import Completion, request_body
from bellhousing_tgi.connection import Connection
from bellhousing_tgi.description import BOUNDS
from bellhousing_tgi.errors import dead
from bellhousing_tgi.metrics import load_of


class RouterBackend(Backend):
    """Serves the model of a router over its native API. A request stays at the router that it began at."""

    bounds = BOUNDS

    _connection: Connection | None = None

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a generation. Closing it closes the connection, which ends the work within a step or two."""
        connection = self._connected()
        if request.adapter and request.adapter not in connection.adapters:
            raise NotFound("adapter", request.adapter, connection.adapters)
        with connection.uses.held():
            async for ours in self._generated(request, connection):
                yield ours

    async def _generated(self, request: GenerationRequest, connection: Connection) -> AsyncIterator[Event]:
        limits = connection.router.limits
        prompt = await connection.prompts.rendered(request.prompt, request)
        room = limits.room(len(prompt.ids))
        if room < 1:
            raise ContextOverflow(len(prompt.ids), limits.max_total_tokens, backend=self.name)
        body = request_body(request, prompt.text, room)
        completion = Completion(request, len(prompt.ids), room, self.name)
        try:
            async with connection.api.generating(body, request) as found:
                async for event in found:
                    for ours in completion.events(event):
                        yield ours
        except EngineFault as error:
            if await connection.api.is_well():
                raise
            raise dead(error, self.name) from error
        yield completion.finished()

    async def stop(self) -> None:
        """Close the connections."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.api.close()

    async def died(self) -> str:
        """Return when the router has not said that it is well several times in a row."""
        await until_unwell(self._connected().api.is_well)
        return "the TGI router does not answer, or says that its engine is dead"

    async def load(self) -> EngineLoad:
        """Return the figures of the router's metrics."""
        return load_of(await self._connected().api.text("/metrics"))

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens that `generate` would use."""
        connection = self._connected()
        with connection.uses.held():
            return await connection.prompts.tokens(prompt, add_special=add_special)

    def _connected(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the backend was not started")
        return self._connection
