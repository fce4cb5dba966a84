"""The simulator as a backend: inline, and in a supervised process of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import ClassVar, Literal

from bellhousing.backend import AdapterFiles, Backend, EmbeddingResult, EngineLoad, ModelInfo, TokenPiece
from bellhousing.capabilities import Bounds
from bellhousing.errors import ContextOverflow, EngineUnavailable
from bellhousing.events import Event, Progress
from bellhousing.requests import Chat, GenerationRequest
from bellhousing.settings import ModelSpec, Strict
from bellhousing_simulator.chain import Chain
from bellhousing_simulator.description import CAPABILITIES, max_running, model_info, refuse
from bellhousing_simulator.embedding import embedding
from bellhousing_simulator.engine import Counters, Engine, prompt_ids
from bellhousing_simulator.options import SimulatorOptions
from bellhousing_simulator.vocabulary import PIECES, detokenise

LOAD_STEPS = 10
"""Messages of progress while the model is loaded."""


class SimulatorBackend(Backend):
    """A Markov model with exact known probabilities, settable latency and faults.

    `chain()` is the oracle of its output, `counters` tell what it has done.
    """

    name: ClassVar[str] = "simulator"
    Options: ClassVar[type[Strict]] = SimulatorOptions
    isolation: ClassVar[Literal["inline", "process"]] = "inline"
    needs_model: ClassVar[bool] = False
    bounds = Bounds(least=CAPABILITIES, most=CAPABILITIES)
    options: SimulatorOptions

    def __init__(self, spec: ModelSpec, options: SimulatorOptions) -> None:
        super().__init__(spec, options)
        self.counters = Counters()
        self._running: Engine | None = None

    @classmethod
    def tunables(cls) -> Mapping[str, Sequence[int]]:
        """Return the places of the batch."""
        return {"batching.max_sequences": (1, 4, 16)}

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Take `load_seconds` to load; see `Backend.start`."""
        refuse(self.spec, self.options, backend=self.name, is_inline=self.isolation == "inline")
        await self.stop()
        for step in range(LOAD_STEPS if self.options.load_seconds else 0):
            progress(Progress("loading", step, LOAD_STEPS, "steps"))
            await asyncio.sleep(self.options.load_seconds / LOAD_STEPS)
        self._running = Engine(self.options, self.counters, self.name)
        return model_info(self.spec, self.options)

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """See `Backend.generate`; `request.stopping` is core's."""
        return self._engine.generate(request)

    async def stop(self) -> None:
        """End the engine; streams that run end with `EngineUnavailable`."""
        engine, self._running = self._running, None
        if engine:
            engine.life.end("was stopped")

    async def died(self) -> str:
        """See `Backend.died`; only the fault `die` makes it return."""
        return await self._engine.life.died()

    async def load(self) -> EngineLoad:
        """Nothing ever waits; the KV cache holds the tokens of the requests that run."""
        size = self.options.context_length * max_running(self.spec, self.options)
        cache = self._running.cache if self._running else None
        return EngineLoad(
            waiting=0,
            kv_cache_usage=min(1.0, self.counters.active_tokens / size),
            prefix_cache_queries=cache.queries if cache else None,
            prefix_cache_hits=cache.hits if cache else None,
        )

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:  # noqa: ARG002 - has none
        """See `Backend.tokenize`."""
        return [TokenPiece(token, PIECES[token]) for token in prompt_ids(prompt)]

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """See `Backend.detokenize`. Raises `InvalidRequest` for unknown ids."""
        return detokenise(ids)

    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        """Return a vector of 16 numbers and length 1. Raises `ContextOverflow` unless it may cut the input."""
        ids = prompt_ids(prompt if isinstance(prompt, str) else tuple(prompt))
        longest = self.options.context_length
        is_cut = len(ids) > longest
        if is_cut and not truncate:
            raise ContextOverflow(len(ids), longest, backend=self.name)
        ids = ids[:longest]
        return EmbeddingResult(embedding(ids, self.options.weights_seed), len(ids), is_cut)

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Take an adapter by its digest; its file is not read."""
        self._engine.load_adapter(adapter.name, adapter.digest)

    async def unload_adapter(self, name: str) -> None:
        """See `Backend.unload_adapter`. Raises `NotFound`."""
        self._engine.unload_adapter(name)

    async def sleep(self, level: int) -> None:  # noqa: ARG002 - there is nothing to free at either level
        """Refuse requests until `wake`."""
        self._engine.is_asleep = True

    async def wake(self) -> None:
        """Take requests again."""
        self._engine.is_asleep = False

    def chain(self, adapter: str = "") -> Chain:
        """Return the model with an adapter, empty for none: the oracle of what it generates. Raises `NotFound`."""
        return self._engine.sampler(adapter).chain

    @property
    def _engine(self) -> Engine:
        if self._running is None:
            raise EngineUnavailable("the simulated engine is not running", backend=self.name)
        return self._running


class IsolatedSimulatorBackend(SimulatorBackend):
    """The simulator in a supervised process of its own, where it can crash as native code does."""

    name: ClassVar[str] = "simulator-process"
    isolation: ClassVar[Literal["inline", "process"]] = "process"
