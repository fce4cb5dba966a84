"""From vLLM's outputs to events. The end token is left out of text, ids and log probabilities."""

from collections.abc import Iterator
from typing import Any

from bellhousing.events import (
    Delta,
    Event,
    Finished,
    FinishReason,
    SequenceEnd,
    TokenLogprob,
    TopLogprob,
)
from bellhousing.requests import GenerationRequest
from bellhousing_vllm.endings import finish_reason, is_inside_character
from bellhousing_vllm.errors import NAME
from bellhousing_vllm.vocabulary import Vocabulary

TAIL = 3
"""Last tokens of a sequence that an incomplete character can be spread over."""


class Translation:
    """The outputs of one request, after Started. `room` is the number of tokens that fit behind the prompt."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary, eos: frozenset[int], room: int) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._eos = frozenset[int]() if request.sampling.ignore_eos else eos
        self._room = room
        self._sequences = request.sampling.n or 1
        self._ends: dict[int, SequenceEnd] = {}
        self._tails: dict[int, tuple[int, ...]] = {}
        self._prompt_logprobs: tuple[TokenLogprob, ...] = ()

    def events(self, output: Any) -> Iterator[Event]:
        """Yield the events of one `RequestOutput`. Raises `EngineFault` for an end that is none."""
        if output.prompt_logprobs:
            self._prompt_logprobs = self._of_prompt(output)
        for completion in output.outputs:
            if completion.index in self._ends:
                continue
            delta = self._delta(completion)
            if delta:
                yield delta
            if completion.finish_reason is not None:
                self._ends[completion.index] = self._end(completion)
        if self.has_ended:
            ends = tuple(self._ends[index] for index in sorted(self._ends))
            yield Finished(ends, len(output.prompt_token_ids), output.num_cached_tokens)

    @property
    def has_ended(self) -> bool:
        """Whether every sequence has ended."""
        return len(self._ends) == self._sequences

    def _delta(self, completion: Any) -> Delta | None:
        ids, entries = tuple(completion.token_ids), completion.logprobs or ()
        if completion.finish_reason == "stop" and ids and ids[-1] in self._eos - set(self._request.stopping.token_ids):
            ids = ids[:-1]
        prompt, self._prompt_logprobs = self._prompt_logprobs, ()
        if not (ids or completion.text or prompt):
            return None
        self._tails[completion.index] = (*self._tails.get(completion.index, ()), *ids)[-TAIL:]
        logprobs = tuple(self._entry(i, at) for i, at in zip(ids, entries, strict=False))
        return Delta(completion.text, ids, len(ids), logprobs, completion.index, prompt)

    def _entry(self, token: int, at: dict[int, Any]) -> TokenLogprob:
        own = at[token]
        return self._logprob(token, own, self._top(at, self._request.logprobs or 0))

    def _of_prompt(self, output: Any) -> tuple[TokenLogprob, ...]:
        wanted = self._request.prompt_logprobs or 0
        return tuple(
            self._logprob(token, at[token], self._top(at, wanted))
            for token, at in zip(output.prompt_token_ids, output.prompt_logprobs, strict=True)
            if at is not None  # nothing predicts the first token
        )

    def _logprob(self, token: int, own: Any, top: tuple[TopLogprob, ...]) -> TokenLogprob:
        return TokenLogprob(self._vocabulary.piece(token), own.logprob, token, own.rank, top)

    def _top(self, at: dict[int, Any], count: int) -> tuple[TopLogprob, ...]:
        best = sorted(at.items(), key=lambda item: item[1].rank)[:count]
        return tuple(TopLogprob(self._vocabulary.piece(i), entry.logprob, i) for i, entry in best)

    def _end(self, completion: Any) -> SequenceEnd:
        end = self._vocabulary.decode(self._tails.get(completion.index, ()))
        return SequenceEnd(self._reason(completion), completion.index, is_inside_character(end))

    def _reason(self, completion: Any) -> FinishReason:
        is_end = completion.stop_reason is None or completion.stop_reason in self._eos
        wanted = self._request.sampling.max_tokens
        return finish_reason(completion.finish_reason, is_end=is_end, wanted=wanted, room=self._room, backend=NAME)
