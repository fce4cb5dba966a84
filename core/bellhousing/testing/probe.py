"""A started backend as core would use it, without the server, for checks to look at."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bellhousing.backend import Backend, ModelInfo
from bellhousing.capabilities import EXAMPLES, Range
from bellhousing.events import Delta, Event, Finished
from bellhousing.models import validated_options
from bellhousing.process import ProcessBackend
from bellhousing.requests import GenerationRequest, Prompt, Sampling
from bellhousing.settings import ModelSpec


@dataclass(frozen=True, slots=True)
class Output:
    """All events of one generation, in order."""

    events: tuple[Event, ...]

    @property
    def deltas(self) -> list[Delta]:
        """The deltas, in order."""
        return [event for event in self.events if isinstance(event, Delta)]

    @property
    def finished(self) -> Finished:
        """The last event."""
        last = self.events[-1] if self.events else None
        assert isinstance(last, Finished), f"expected Finished last, found {last}"
        return last

    def text(self, index: int = 0) -> bytes:
        """Return the text of a sequence."""
        pieces = [delta.text for delta in self.deltas if delta.index == index]
        return b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)

    def tokens(self, index: int = 0) -> int:
        """Return the number of tokens of a sequence."""
        return sum(delta.token_count for delta in self.deltas if delta.index == index)

    def reason(self, index: int = 0) -> str:
        """Return why a sequence ended."""
        return next(end.reason for end in self.finished.sequences if end.index == index)


@dataclass(frozen=True, slots=True)
class Probe:
    """A started backend and what it told of itself. No generation may take longer than `seconds`."""

    backend: Backend
    info: ModelInfo
    prompt: Prompt
    seconds: float

    def supports(self, field: str) -> bool:
        """Tell whether the backend declares a field of the contract, such as `sampling.top_k`."""
        return field in self.info.capabilities.parameters

    def request(self, prompt: Prompt | None = None, **sampling: Any) -> GenerationRequest:
        """Return a request as core makes it: the model's defaults, and those of `sampling` that are declared.

        The seed is 1 unless given; without temperature among `sampling`, draws are greedy where that can be asked for.
        """
        wanted = {"seed": 1, "temperature": 0.0, **sampling}
        declared = {name: value for name, value in wanted.items() if self._is_allowed(f"sampling.{name}", value)}
        return GenerationRequest("check", self.prompt if prompt is None else prompt, self._sampling(declared))

    def _is_allowed(self, field: str, value: object) -> bool:
        limits = self.info.capabilities.parameters.get(field)
        if limits is None:
            return False
        return not isinstance(value, int | float) or limits.violation(value) is None

    def _sampling(self, given: Mapping[str, Any]) -> Sampling:
        unknown = given.keys() - {field.name for field in fields(Sampling)}
        assert not unknown, f"no sampling parameter is named {', '.join(sorted(unknown))}"
        return replace(self.info.defaults, **given)

    def example(self, name: str) -> Any:
        """Return a value of a declared sampling parameter that lies in its range."""
        if name == "ignore_eos":
            return True
        value = _inside(EXAMPLES[name], self.info.capabilities.parameters[f"sampling.{name}"])
        return {0: value} if name == "logit_bias" else value

    async def run(self, request: GenerationRequest) -> Output:
        """Generate to the end. Raises `TimeoutError` when that takes longer than `seconds`."""
        async with asyncio.timeout(self.seconds), aclosing(self.backend.generate(request)) as events:  # type: ignore[type-var]
            return Output(tuple([event async for event in events]))

    async def run_until_first_delta(self, request: GenerationRequest) -> None:
        """Generate, and close the generation when its first output has come."""
        async with asyncio.timeout(self.seconds), aclosing(self.backend.generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Delta):
                    return


def _inside(example: float, limits: Range) -> float:
    low, high = limits.minimum, limits.maximum
    middle = (low + high) / 2 if low is not None and high is not None else None
    for value in (example, low, high, middle):
        if value is not None and limits.violation(value) is None:
            return type(example)(value)
    raise AssertionError(f"expected a range that holds a value, found {limits}")


def build(
    backend_class: type[Backend], options: Mapping[str, Any], model: Path | None, *, name: str = "under-test"
) -> Backend:
    """Return a backend as core builds it: in a process of its own when it asks for that."""
    spec = ModelSpec(name=name, path=model)
    checked = validated_options(backend_class, options)
    if backend_class.isolation == "process":
        return ProcessBackend(backend_class, spec, checked)
    return backend_class(spec, checked)


@asynccontextmanager
async def probing(
    backend_class: type[Backend], options: Mapping[str, Any], model: Path | None, prompt: Prompt, seconds: float
) -> AsyncIterator[Probe]:
    """Start a backend for the body, and stop it."""
    backend = build(backend_class, options, model)
    try:
        info = await backend.start(lambda _: None)
        yield Probe(backend, info, prompt, seconds)
    finally:
        await backend.stop()
