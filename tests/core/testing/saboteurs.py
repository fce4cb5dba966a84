"""Backends that each break one promise: the simulator, but for that."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace

from bellhousing.backend import EmbeddingResult, EngineLoad, ModelInfo
from bellhousing.capabilities import Bounds, Capabilities, parameters
from bellhousing.errors import EngineFault, InvalidRequest, Violation
from bellhousing.events import Delta, Event, Finished, Progress, SequenceEnd, Started
from bellhousing.requests import GenerationRequest
from bellhousing.settings import ModelSpec
from bellhousing_simulator.backend import SimulatorBackend
from bellhousing_simulator.options import SimulatorOptions


class Saboteur(SimulatorBackend):
    """Passes requests and events through two methods that a subclass breaks."""

    def __init__(self, spec: ModelSpec, options: SimulatorOptions) -> None:
        super().__init__(spec, options)
        self.numbers = itertools.count()
        self.open = 0

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        async for event in super().generate(self.asked(request)):
            for told in self.told(event):
                yield told

    def asked(self, request: GenerationRequest) -> GenerationRequest:
        return request

    def told(self, event: Event) -> Iterable[Event]:
        return [event]


def sampling(request: GenerationRequest, **changes: object) -> GenerationRequest:
    return replace(request, sampling=replace(request.sampling, **changes))  # type: ignore[arg-type]


def longer(request: GenerationRequest, tokens: int) -> GenerationRequest:
    limit = request.sampling.max_tokens
    return sampling(request, max_tokens=max(1, limit + tokens), min_tokens=0) if limit else request


def asking(change: Callable[[Saboteur, GenerationRequest], GenerationRequest]) -> type[Saboteur]:
    return type("Asking", (Saboteur,), {"asked": change})


def telling(change: Callable[[Saboteur, Event], Iterable[Event]]) -> type[Saboteur]:
    return type("Telling", (Saboteur,), {"told": change})


def changing(kind: type[Event], **changes: object) -> type[Saboteur]:
    return telling(lambda _, event: [replace(event, **changes) if isinstance(event, kind) else event])  # type: ignore[arg-type]


class Shortsighted(Saboteur):
    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        return replace(await super().start(progress), context_length=0)


class Secretive(Saboteur):
    def told(self, event: Event) -> Iterable[Event]:
        return [replace(event, prompt_tokens=None) if isinstance(event, Started | Finished) else event]


class Miscounting(Saboteur):
    def told(self, event: Event) -> Iterable[Event]:
        return [replace(event, token_count=event.token_count + 1) if isinstance(event, Delta) else event]


class Picky(Saboteur):
    def asked(self, request: GenerationRequest) -> GenerationRequest:
        if request.sampling.top_k:
            raise InvalidRequest([Violation("sampling.top_k", "not today")])
        return request


class Forgetful(Saboteur):
    def asked(self, request: GenerationRequest) -> GenerationRequest:
        return replace(request, prompt=request.prompt[:-1]) if isinstance(request.prompt, tuple) else request


class Merging(Saboteur):
    def told(self, event: Event) -> Iterable[Event]:
        return [replace(event, sequences=event.sequences[:1]) if isinstance(event, Finished) else event]


class Unsorted(Saboteur):
    def told(self, event: Event) -> Iterable[Event]:
        if not isinstance(event, Delta):
            return [event]
        return [replace(event, logprobs=tuple(replace(entry, top=entry.top[::-1]) for entry in event.logprobs))]


class Leaking(Saboteur):
    """Frees a slot only when a generation ends by itself."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        if self.open >= self.options.max_running:
            await asyncio.Event().wait()
        self.open += 1
        async for event in super().generate(request):
            yield event
        self.open -= 1


class Lonely(Saboteur):
    """Takes one request at a time, and says otherwise."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        if self.open:
            raise EngineFault("busy")
        self.open += 1
        async for event in super().generate(request):
            await asyncio.sleep(0)
            yield event
        self.open -= 1


class Illiterate(Saboteur):
    async def detokenize(self, ids: Sequence[int]) -> bytes:
        return b"?" + await super().detokenize(ids)


class Numberless(Saboteur):
    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        return replace(await super().embed(prompt, truncate=truncate), values=(math.nan,))


class Sleepy(Saboteur):
    async def wake(self) -> None:
        """Sleep on."""


class Boastful(Saboteur):
    async def load(self) -> EngineLoad:
        return EngineLoad(kv_cache_usage=2.0)


class Hypochondriac(Saboteur):
    async def died(self) -> str:
        return "felt unwell"


class StopsOnce(Saboteur):
    async def stop(self) -> None:
        if self.open:
            raise RuntimeError("already stopped")
        self.open = self._running is not None
        await super().stop()


class NeedsStart(Saboteur):
    async def stop(self) -> None:
        if self._running is None and next(self.numbers) == 0 and not self.open:
            raise RuntimeError("never started")
        await super().stop()

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        self.open = 1
        return await super().start(progress)


class Modest(SimulatorBackend):
    """Declares less of itself than its models do."""

    bounds = Bounds()


SABOTEURS: dict[str, type[SimulatorBackend]] = {
    "the_description_keeps_to_the_contract": Shortsighted,
    "what_runs_is_within_the_bounds_of_the_backend": Modest,
    "a_generation_is_started_then_deltas_then_one_finished": telling(
        lambda _, event: [] if isinstance(event, Started) else [event]
    ),
    "a_sequence_ends_once_and_not_for_a_reason_of_cores": changing(Finished, sequences=(SequenceEnd("stop_string"),)),
    "the_number_of_prompt_tokens_is_told_by_the_end": Secretive,
    "deltas_count_their_tokens": Miscounting,
    "max_tokens_is_exact": asking(lambda _, request: longer(request, 1)),
    "min_tokens_are_reached": asking(lambda _, request: longer(request, -1)),
    "every_declared_sampling_parameter_is_accepted": Picky,
    "every_declared_form_of_prompt_is_accepted": Forgetful,
    "output_has_the_form_that_was_asked_for": asking(lambda _, request: replace(request, structured_output=None)),
    "several_sequences_are_told_apart": Merging,
    "log_probabilities_come_one_a_token_best_first": Unsorted,
    "no_log_probabilities_come_unless_asked_for": asking(lambda _, request: replace(request, logprobs=1)),
    "greedy_output_repeats": asking(
        lambda backend, request: sampling(request, temperature=5.0, seed=next(backend.numbers))
    ),
    "a_seed_repeats_its_draws": asking(lambda backend, request: sampling(request, seed=next(backend.numbers))),
    "closing_early_ends_the_work_and_the_next_request_runs": Leaking,
    "requests_run_beside_each_other": Lonely,
    "tokens_of_a_text_give_the_text_back": Illiterate,
    "an_embedding_is_a_vector_of_numbers": Numberless,
    "a_model_that_slept_generates_again": Sleepy,
    "shares_of_the_load_run_from_0_to_1": Boastful,
    "an_engine_that_lives_is_not_said_to_have_died": Hypochondriac,
    "stop_may_be_called_twice": StopsOnce,
    "stop_may_come_without_a_start": NeedsStart,
    "a_client_of_the_server_gets_the_same_text": asking(
        lambda _, request: request if request.id == "check" else sampling(request, temperature=5.0)
    ),
    "a_client_that_leaves_frees_the_engine": Leaking,
}
"""For each check of the suite, a backend that it must fail."""


class Bare(SimulatorBackend):
    """Declares text alone."""

    bounds = Bounds(most=Capabilities(parameters=parameters("text")))

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        return replace(await super().start(progress), capabilities=Capabilities(parameters=parameters("text")))
