"""What both backends do alike: generate, embed and tell the load of one model of an Ollama server."""

from abc import ABC
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from bellhousing.backend import AdapterFiles, Backend, EmbeddingResult, EngineLoad
from bellhousing.errors import InvalidRequest, Violation
from bellhousing.events import Event, Finished
from bellhousing.requests import GenerationRequest
from bellhousing_ollama.adapters import DerivedModels
from bellhousing_ollama.api import Api
from bellhousing_ollama.errors import NAME, broken
from bellhousing_ollama.generation import Stream, request_body, request_path

EMBED_SECONDS = 300.0
TOO_LONG = "exceeds the context length"


class OllamaServing(Backend, ABC):
    """One model behind `self._api`; a subclass's `start` sets what is declared here."""

    _api: Api | None = None
    _model: str
    _context_length: int
    _runner: Mapping[str, int]
    _derived: DerivedModels
    _running_count = 0
    _prefix_cache_queries = 0
    _prefix_cache_hits = 0

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a generation. Closing it closes the connection, which ends the work in Ollama."""
        body = request_body(
            request,
            self._derived.model_of(request.adapter),
            context_length=self._context_length,
            runner=self._runner,
        )
        stream = Stream(request, self._context_length)
        self._running_count += 1
        try:
            async with (
                self._connected().lines(request_path(request), body, request) as lines,
                aclosing(stream.events(lines)) as events,  # type: ignore[type-var]
            ):
                async for event in events:
                    if type(event) is Finished:
                        self._count(event)
                    yield event
        finally:
            self._running_count -= 1

    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        """Return the vector of a text, of length 1 as Ollama makes them."""
        if not isinstance(prompt, str):
            raise InvalidRequest([Violation("token_ids", "must be unset: Ollama embeds text")], backend=NAME)
        try:
            return await self._embedded(prompt, is_cut=False)
        except InvalidRequest as error:
            if not truncate or TOO_LONG not in error.message:
                raise
        return await self._embedded(prompt, is_cut=True)

    async def load(self) -> EngineLoad:
        """Return the requests in Ollama, and prefix cache figures in tokens; it tells nothing of its cache's use."""
        is_loaded = bool(await self._connected().loaded())
        return EngineLoad(
            running=self._running_count if is_loaded else 0,
            prefix_cache_queries=self._prefix_cache_queries,
            prefix_cache_hits=self._prefix_cache_hits,
        )

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Derive a model from the base and the adapter, and let it generate a token."""
        await self._derived.load(adapter)

    async def unload_adapter(self, name: str) -> None:
        """End the adapter's runner and delete the derived model."""
        await self._derived.unload(name)

    async def _embedded(self, prompt: str, *, is_cut: bool) -> EmbeddingResult:
        body = {"model": self._model, "input": prompt, "truncate": is_cut, "options": dict(self._runner)}
        answer = await self._connected().post("/api/embed", body, patience=EMBED_SECONDS)
        vectors = answer.get("embeddings") or []
        if len(vectors) != 1:
            raise broken(f"{len(vectors)} vectors", "one vector for one input")
        return EmbeddingResult(tuple(vectors[0]), int(answer.get("prompt_eval_count", 0)), is_cut)

    def _count(self, finished: Finished) -> None:
        self._prefix_cache_queries += finished.prompt_tokens or 0
        self._prefix_cache_hits += finished.cached_tokens or 0

    def _connected(self) -> Api:
        if self._api is None:
            raise RuntimeError("the backend was not started")
        return self._api
