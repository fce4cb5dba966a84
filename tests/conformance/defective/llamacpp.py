"""The llama.cpp backend with defects."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bellhousing.backend import ModelInfo
from bellhousing.events import Delta, Event, Finished, Progress, TokenLogprob
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


LOSS = 0.05
"""Nats by which each token of an output is told to be less probable than the one before was."""


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
        tokens = 0
        async with aclosing(super().generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                defect = defect_of(self.options.switch)
                if isinstance(event, Finished) and defect == "counts one prompt token more":
                    event = replace(event, prompt_tokens=(event.prompt_tokens or 0) + 1)
                if isinstance(event, Delta) and defect == "drifts in decode":
                    event = replace(event, logprobs=tuple(_less(each, LOSS * tokens) for each in event.logprobs))
                    tokens += event.token_count
                yield event


def _less(told: TokenLogprob, nats: float) -> TokenLogprob:
    return replace(told, logprob=told.logprob - nats)
