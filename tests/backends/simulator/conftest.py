"""A running simulator, and a request's events taken apart."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bellhousing.events import Delta, Event, Finished, Started
from bellhousing.requests import GenerationRequest, Prompt, Sampling
from bellhousing.settings import ModelSpec
from bellhousing_simulator import SimulatorBackend, SimulatorOptions

Simulate = Callable[..., Awaitable[SimulatorBackend]]


@pytest.fixture
async def simulate() -> AsyncIterator[Simulate]:
    """Start simulators with the given options; they are stopped after the test."""
    running: list[SimulatorBackend] = []

    async def start(**options: Any) -> SimulatorBackend:
        backend = SimulatorBackend(ModelSpec(name="m"), SimulatorOptions(**options))
        await backend.start(lambda _: None)
        running.append(backend)
        return backend

    yield start
    for backend in running:
        await backend.stop()


def request(prompt: Prompt = "abc", sampling: Sampling | None = None, **fields: Any) -> GenerationRequest:
    """Return a request; with a seed unless the sampling is given."""
    return GenerationRequest("id", prompt, sampling or Sampling(seed=1), **fields)


@dataclass(frozen=True)
class Output:
    """The events of one request that ended well."""

    started: Started
    deltas: list[Delta]
    finished: Finished

    def ids(self, index: int = 0) -> list[int]:
        return [token for delta in self.deltas if delta.index == index for token in delta.token_ids]

    def raw(self, index: int = 0) -> bytes:
        texts = [delta.text for delta in self.deltas if delta.index == index]
        return b"".join(text.encode() if isinstance(text, str) else text for text in texts)

    def reasons(self) -> list[str]:
        return [end.reason for end in self.finished.sequences]


async def generate(backend: SimulatorBackend, wanted: GenerationRequest) -> Output:
    """Return the output of a request, once its events were found to be in order."""
    events: list[Event] = [event async for event in backend.generate(wanted)]
    started, *deltas, finished = events
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    return Output(started, [delta for delta in deltas if isinstance(delta, Delta)], finished)
