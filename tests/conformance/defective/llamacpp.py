"""The llama.cpp backend with defects."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bellhousing.backend import ModelInfo
from bellhousing.events import Event, Finished, Progress
from bellhousing.requests import GenerationRequest
from bellhousing_llamacpp import LlamaCppBackend, LlamaCppOptions, backend
from bellhousing_llamacpp.description import RANDOM_SEED
from tests.conformance.defective.switch import Spoil, defect_of, spoiling

DEFECTS: Mapping[str, Spoil] = {
    "drops top_k": lambda body: body.pop("top_k"),
    "takes temperature 1": lambda body: body.update(temperature=1.0),
    "ignores the seed": lambda body: body.update(seed=RANDOM_SEED),
    "leaves out logit_bias": lambda body: body.update(logit_bias=[]),
    "leaves out ignore_eos": lambda body: body.pop("ignore_eos"),
}


class DefectiveOptions(LlamaCppOptions):
    """Where the switch lies."""

    switch: Path


class DefectiveLlamaCpp(LlamaCppBackend):
    """The backend, but for the defect in force."""

    name: ClassVar[str] = "defective-llamacpp"
    Options = DefectiveOptions  # type: ignore[assignment] # mypy takes it for an alias

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """See `Backend.start`."""
        spoiling(backend, "request_body", DEFECTS, self.options.switch)
        return await super().start(progress)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """See `Backend.generate`."""
        async with aclosing(super().generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished) and defect_of(self.options.switch) == "counts one prompt token more":
                    event = replace(event, prompt_tokens=(event.prompt_tokens or 0) + 1)
                yield event
