"""The simulated engine: requests in, events out."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from bellhousing.errors import ContextOverflow, EngineUnavailable, NotFound
from bellhousing.events import Delta, Event, Finished, SequenceEnd, Started, TokenLogprob
from bellhousing.requests import Chat, GenerationRequest, Prompt
from bellhousing_simulator.chain import Chain
from bellhousing_simulator.faults import inject
from bellhousing_simulator.options import Fault, SimulatorOptions
from bellhousing_simulator.pacing import Life, Pace
from bellhousing_simulator.prefix_cache import PrefixCache
from bellhousing_simulator.sampler import Sampler, Sequence
from bellhousing_simulator.vocabulary import checked, detokenise, render, tokenise


@dataclass(slots=True)
class Counters:
    """What the engine has done and does now. A request counts from its first event on, until its stream is closed.

    `active_tokens` are the tokens of prompt and output of the requests that run.
    """

    started: int = 0
    closed: int = 0
    tokens_generated: int = 0
    active_sequences: int = 0
    active_tokens: int = 0


class Engine:
    """One run of the engine, from start to stop or death. `backend` is the name that its errors give."""

    def __init__(self, options: SimulatorOptions, counters: Counters, backend: str) -> None:
        self.life = Life()
        self.is_asleep = False
        self.cache = PrefixCache() if options.prefix_cache else None
        self._options = options
        self._counters = counters
        self._backend = backend
        self._samplers = {"": Sampler(Chain(options.weights_seed, options.end_probability))}

    def load_adapter(self, name: str, digest: str) -> None:
        """Add an adapter, or replace one; running requests keep what they began with."""
        self._samplers[name] = Sampler(Chain(self._options.weights_seed, self._options.end_probability, digest))

    def unload_adapter(self, name: str) -> None:
        """Remove an adapter. Raises `NotFound`."""
        self.sampler(name)
        del self._samplers[name]

    def sampler(self, adapter: str) -> Sampler:
        """Return the model with an adapter; empty is none. Raises `NotFound`."""
        if adapter not in self._samplers:
            raise NotFound("adapter", adapter, filter(None, self._samplers))
        return self._samplers[adapter]

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of a request, with the fault that matches it."""
        events = self._events(request)
        fault = self._fault(request.prompt)
        return events if fault is None else inject(fault, events, self.life)

    async def _events(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        run = self._run(request)
        prompt_tokens = len(run.prompt)
        pace = Pace(self._options, self.life, request.sampling.seed)
        try:
            cached = self.cache.take(run.adapter_digest, run.prompt) if self.cache else 0
            yield Started(prompt_tokens, cached_tokens=cached)
            prefill_seconds = await pace.prefill(prompt_tokens - cached)
            while run.running:
                for delta in run.step():
                    yield delta
                if run.running and run.unpaused >= pace.tokens_between_pauses:
                    run.unpaused = 0
                    await pace.pause()
            for delta in run.rest():
                yield delta
            yield Finished(run.ends(), prompt_tokens, cached, prefill_seconds)
        finally:
            run.close()

    def _run(self, request: GenerationRequest) -> "_Run":
        self.life.check()
        if self.is_asleep:
            raise EngineUnavailable("the simulated engine is asleep", reason="MODEL_SLEEPING", hint="Wake the model.")
        prompt = prompt_ids(request.prompt)
        if len(prompt) >= self._options.context_length:
            raise ContextOverflow(len(prompt), self._options.context_length, backend=self._backend)
        room = self._options.context_length - len(prompt)
        return _Run(request, self.sampler(request.adapter), prompt, room, self._counters)

    def _fault(self, prompt: Prompt) -> Fault | None:
        """Return the first fault that matches the prompt."""
        faults = self._options.faults
        text = detokenise(prompt_ids(prompt)).decode(errors="replace") if faults else ""
        return next((fault for fault in faults if fault.match in text), None)


class _Run:
    """A request in the engine: its sequences, one token each a step."""

    def __init__(
        self, request: GenerationRequest, sampler: Sampler, prompt: tuple[int, ...], room: int, counters: Counters
    ) -> None:
        self.prompt = prompt
        self.adapter_digest = sampler.chain.adapter_digest
        self.unpaused = 0
        self._sequences = [Sequence(request, index, sampler, prompt, room) for index in range(request.sampling.n or 1)]
        self.running = self._sequences
        self._prompt_logprobs = _prompt_logprobs(sampler.chain, prompt, request.prompt_logprobs)
        self._counters = counters
        counters.started += 1
        counters.active_sequences += len(self.running)
        counters.active_tokens += len(prompt)

    def step(self) -> list[Delta]:
        """Draw a token of each running sequence; return the deltas. Prompt log probabilities go with the first."""
        counters = self._counters
        deltas = [delta for sequence in self.running if (delta := sequence.step()) is not None]
        counters.tokens_generated += len(deltas)
        counters.active_tokens += len(deltas)
        self.unpaused += len(self.running)
        running = [sequence for sequence in self.running if sequence.reason is None]
        counters.active_sequences -= len(self.running) - len(running)
        self.running = running
        if self._prompt_logprobs and deltas:
            deltas[0] = replace(deltas[0], prompt_logprobs=self._prompt_logprobs)
            self._prompt_logprobs = ()
        return deltas

    def rest(self) -> list[Delta]:
        """Return the prompt's log probabilities when there was no token for them to go with."""
        if not self._prompt_logprobs:
            return []
        return [Delta("", token_count=0, prompt_logprobs=self._prompt_logprobs)]

    def ends(self) -> tuple[SequenceEnd, ...]:
        """Return how each sequence ended. All of them have."""
        return tuple([SequenceEnd(s.reason or "unspecified_stop", s.index) for s in self._sequences])

    def close(self) -> None:
        """Give everything back, at the end or wherever the reader left."""
        counters = self._counters
        counters.closed += 1
        counters.active_sequences -= len(self.running)
        counters.active_tokens -= len(self.prompt) + sum(sequence.count for sequence in self._sequences)
        self.running = []


def prompt_ids(prompt: Prompt) -> tuple[int, ...]:
    """Return the tokens of a prompt; nothing is added to them. Raises `InvalidRequest` for unknown ids."""
    if isinstance(prompt, tuple):
        return checked(prompt)
    return tokenise(render(prompt) if isinstance(prompt, Chat) else prompt)


def _prompt_logprobs(chain: Chain, prompt: tuple[int, ...], top: int | None) -> tuple[TokenLogprob, ...]:
    """Return an entry for each token of the prompt, the first one after the start of a text."""
    if top is None:
        return ()
    return tuple(
        [chain.token_logprob(before, token, top) for before, token in zip((None, *prompt), prompt, strict=False)]
    )
