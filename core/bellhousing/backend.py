"""The interface of a backend: what an author implements, and all that core knows of an engine.

A backend translates between one engine and these types. gRPC, queues, stop strings and deadlines are core's alone.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from bellhousing.capabilities import Bounds, Capabilities
from bellhousing.events import Event, Progress
from bellhousing.requests import Chat, GenerationRequest, Sampling
from bellhousing.settings import EngineSettings, ModelSpec, Strict


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a started engine serves; constant until `stop`.

    `context_length` counts tokens of prompt and output of one request; `max_running` is how many requests the engine
    takes at once. `effective` is what became of the settings (None: not honoured), `reasons` says why, by setting, and
    tells of what else is not as expected, such as `chat_template`.
    """

    engine: str
    engine_version: str
    context_length: int
    max_running: int
    capabilities: Capabilities
    defaults: Sampling = field(default_factory=Sampling)
    vocabulary_size: int = 0
    model_digest: str = ""
    tokenizer_digest: str = ""
    precision: str = ""
    eos_token_ids: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    effective: EngineSettings = field(default_factory=EngineSettings)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What the engine tells of its own load; None where it does not. Shares run from 0 to 1."""

    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None
    prefix_cache_queries: int | None = None
    prefix_cache_hits: int | None = None
    speculative_acceptance: float | None = None


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter on this machine's disk, already checked by core: safetensors or GGUF, and what is beside them."""

    name: str
    path: str
    digest: str
    config_digest: str = ""


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """A token of the vocabulary: its id and its bytes."""

    id: int
    piece: bytes


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """One vector, its input's length in tokens, and whether the input was cut."""

    values: tuple[float, ...]
    prompt_tokens: int
    truncated: bool = False


class Backend(ABC):
    """One engine serving one model. A method may raise a `BellhousingError`; anything else counts as a defect."""

    name: ClassVar[str]
    Options: ClassVar[type[Strict]] = Strict
    isolation: ClassVar[Literal["inline", "process"]] = "inline"  # `process`: in a supervised one of its own
    needs_model: ClassVar[bool] = True  # whether `spec.path` must be given
    bounds: ClassVar[Bounds] = Bounds()  # of what its models honour; `ModelInfo.capabilities` is never outside

    def __init__(self, spec: ModelSpec, options: BaseModel) -> None:
        self.spec = spec
        self.options: Any = options

    @classmethod
    def tunables(cls) -> Mapping[str, Sequence[int]]:
        """Return the settings that `bellhousing tune` tries, by path such as `batching.max_sequences`, with values."""
        return {}

    @abstractmethod
    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Load the model; return once it can generate. Raises `ConfigurationError` or `EngineUnavailable`."""

    @abstractmethod
    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Yield one Started, then Deltas; the last item, and only it, is a Finished. Closing it ends the work."""

    @abstractmethod
    async def stop(self) -> None:
        """End the engine and leave nothing behind. Safe to call twice, and after a failed `start`."""

    async def died(self) -> str:
        """Return the reason when the engine has died by itself; wait for ever while it lives."""
        await asyncio.Event().wait()
        return ""

    async def load(self) -> EngineLoad:
        """Return what the engine tells of its load now."""
        return EngineLoad()

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens of the prompt, in order (capability `tokenize`)."""
        raise NotImplementedError

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of the ids (capability `detokenize`)."""
        raise NotImplementedError

    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        """Return the raw vector of one input (capability `embed`)."""
        raise NotImplementedError

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Bring an adapter onto the device; requests may name it from then on (capability `adapters`)."""
        raise NotImplementedError

    async def unload_adapter(self, name: str) -> None:
        """Take an adapter off the device. No running request uses it."""
        raise NotImplementedError

    async def sleep(self, level: int) -> None:
        """Free the device's memory: 1 keeps the weights on the host, 2 drops them (capability `sleep`)."""
        raise NotImplementedError

    async def wake(self) -> None:
        """Undo `sleep`."""
        raise NotImplementedError
