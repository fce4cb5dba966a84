"""llama.cpp's native `/completion`: the body of a request, and its stream of frames as events."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from bellhousing.errors import BellhousingError, EngineFault, StreamBroken
from bellhousing.events import Delta, Event, Finished, FinishReason, SequenceEnd, Started, TokenLogprob, TopLogprob
from bellhousing.requests import GenerationRequest, Sampling
from bellhousing_llamacpp.connection import Answer
from bellhousing_llamacpp.errors import NAME, error_of_body
from bellhousing_llamacpp.grammar import CANARY_BIAS, UNKNOWN_TO_THE_ENGINE, refused
from bellhousing_llamacpp.vocabulary import Vocabulary

DATA, ERROR, DONE = b"data: ", b"error: ", b"data: [DONE]"
COLDEST = 1e-6
"""Below it llama.cpp's logits overflow; it is greedy long before."""
MOST_TOKENS = 2**31 - 1
REPLACEMENT = "\ufffd"


class Probability(msgspec.Struct):
    """The log probability of a token; `bytes` are its bytes as numbers."""

    id: int
    logprob: float
    bytes: list[int] = []
    top_logprobs: list["Probability"] = []


class PromptProgress(msgspec.Struct):
    """How far prefill is, in tokens."""

    total: int
    cache: int = 0


class Timings(msgspec.Struct):
    """What the engine measured, in tokens and milliseconds."""

    cache_n: int = 0
    prompt_ms: float = 0.0


class Frame(msgspec.Struct):
    """One frame of the stream. `tokens_predicted` counts from the start of the sequence, its end token included."""

    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    truncated: bool = False
    stop_type: str = ""
    prompt_progress: PromptProgress | None = None
    completion_probabilities: list[Probability] = []
    timings: Timings | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Frame).decode


def request_body(
    request: GenerationRequest, prompt: str | list[int], *, context_length: int, prefix_cache: bool
) -> dict[str, Any]:
    """Return the body. Every parameter is sent, so that none of the engine's own defaults is in force.

    The scales of adapters are not in it: they depend on the engine that takes the request.
    """
    s = request.sampling
    body: dict[str, Any] = {
        "prompt": prompt,
        "stream": True,
        # Only a stream that says how far prefill is notices in prefill that its reader has gone.
        "return_progress": True,
        "cache_prompt": prefix_cache,
        "n_predict": -1 if s.max_tokens is None else min(s.max_tokens, MOST_TOKENS),
        "temperature": _temperature(s),
        "top_k": s.top_k,
        "top_p": s.top_p,
        "min_p": s.min_p,
        "typical_p": s.typical_p,
        "repeat_penalty": s.repetition_penalty,
        "repeat_last_n": context_length,
        # The engine's count the prompt's tokens too, the contract's only generated ones: not declared, so always off.
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": s.seed,
        "ignore_eos": bool(s.ignore_eos),
        "logit_bias": [[token, bias] for token, bias in (s.logit_bias or {}).items()],
    }
    if request.logprobs is not None:
        # Without alternatives the engine would leave out the chosen token as well.
        body["n_probs"] = max(1, request.logprobs)
    return body


def _temperature(sampling: Sampling) -> float | None:
    wanted = sampling.temperature
    return 0.0 if wanted is not None and wanted < COLDEST else wanted


def constrained(body: dict[str, Any], grammar: str, canary: int) -> dict[str, Any]:
    """Return a body whose output must match a grammar; `canary` comes first when the engine has dropped it."""
    biases = [pair for pair in body.get("logit_bias", ()) if pair[0] != canary]
    return {**body, "grammar": grammar, "logit_bias": [*biases, [canary, CANARY_BIAS]]}


class Stream:
    """Turns the frames of one completion into events. `canary` is the token of a dropped grammar, None without one.

    Text, ids and log probabilities travel as they come, with two exceptions. A token without text waits for the next
    frame, since it may turn out to be the end token. And the engine sends nothing for a token that ends inside a
    character: the last token of the character brings the number of them, and `Vocabulary.recover` their ids where these
    are certain. Where they are not, the delta has the right `token_count` and no ids. The log probabilities of such
    hidden tokens are not to be had, nor the ids of a character that is cut off: `joined_characters` declares it.
    """

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary | None, canary: int | None) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._canary = canary
        self._seen = 0
        self._delivered = 0
        self._started: Started | None = None
        self._is_announced = False
        self._silent: Delta | None = None

    async def events(self, answer: Answer) -> AsyncIterator[Event]:
        """Yield the events of a streamed answer. Raises `StreamBroken` when its last frame is missing."""
        waiting = b""
        async with aclosing(answer.chunks()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                *lines, waiting = (waiting + chunk).split(b"\n")
                for line in lines:
                    frame = self._frame(line)
                    if frame is None:
                        continue
                    for event in self._of(frame):
                        yield event
                    if frame.stop:
                        return
        raise StreamBroken("llama.cpp's stream ended without its last frame", backend=NAME)

    def _frame(self, line: bytes) -> Frame | None:
        if line.startswith(DATA) and line != DONE:
            return _decode(line[len(DATA) :])
        if line.startswith(ERROR):
            raise self._error(msgspec.json.decode(line[len(ERROR) :]))
        return None

    def _of(self, frame: Frame) -> Iterator[Event]:
        if frame.error is not None:
            raise self._error(frame.error)
        if self._started is None:
            progress = frame.prompt_progress
            self._started = Started(progress.total, progress.cache) if progress else Started(frame.tokens_evaluated)
        if self._canary is not None and self._canary in frame.tokens:
            raise self._dropped_grammar()
        # A grammar turns out to be good with the first token.
        if not self._is_announced and (self._canary is None or frame.prompt_progress is None):
            self._is_announced = True
            yield self._started
        if frame.prompt_progress is None:
            yield from self._end(frame) if frame.stop else self._token(frame)

    def _token(self, frame: Frame) -> Iterator[Event]:
        if self._silent:
            yield self._deliver(self._silent)
            self._silent = None
        delta = self._delta(frame)
        if frame.content:
            yield self._deliver(delta)
        else:
            self._silent = delta

    def _delta(self, frame: Frame) -> Delta:
        count = max(1, frame.tokens_predicted - self._seen)
        self._seen = frame.tokens_predicted
        text: str | bytes = frame.content
        ids = tuple(frame.tokens)
        if len(ids) == 1 and self._vocabulary:
            if count > 1:
                ids = self._vocabulary.recover(frame.content.encode(), ids[0], count)
            elif REPLACEMENT in frame.content:
                text = self._vocabulary.pieces[ids[0]]
        return Delta(text, ids if len(ids) == count else (), count, self._logprobs(frame))

    def _logprobs(self, frame: Frame) -> tuple[TokenLogprob, ...]:
        top = self._request.logprobs
        return () if top is None else tuple([_logprob(found, top) for found in frame.completion_probabilities])

    def _deliver(self, delta: Delta) -> Delta:
        self._delivered += delta.token_count
        return delta

    def _end(self, frame: Frame) -> Iterator[Event]:
        is_eos = frame.stop_type == "eos"
        if self._silent and not is_eos:
            yield self._deliver(self._silent)
        # Tokens of a character that was cut off come in no frame: their number is known, their ids are not.
        missing = frame.tokens_predicted - is_eos - self._delivered
        if missing > 0:
            yield Delta("", (), missing)
        timings = frame.timings or Timings()
        end = SequenceEnd(_reason(frame), cut_character=missing > 0)
        yield Finished((end,), frame.tokens_evaluated, timings.cache_n, timings.prompt_ms / 1000)

    def _dropped_grammar(self) -> BellhousingError:
        wanted = self._request.structured_output
        if wanted is not None and not self._seen:
            return refused(wanted, UNKNOWN_TO_THE_ENGINE[wanted.kind])
        return EngineFault(
            f"llama.cpp gave up the grammar after {self._seen} tokens: following it had become too much work",
            reason="GRAMMAR_TOO_COMPLEX",
            backend=NAME,
        )

    def _error(self, found: Any) -> BellhousingError:
        return error_of_body(found, self._request.structured_output)


def _reason(frame: Frame) -> FinishReason:
    if frame.stop_type == "eos":
        return "eos"
    if frame.stop_type == "limit":
        return "context_length" if frame.truncated else "max_tokens"
    return "unspecified_stop"


def _logprob(found: Probability, top: int) -> TokenLogprob:
    alternatives = tuple([TopLogprob(bytes(p.bytes), min(0.0, p.logprob), p.id) for p in found.top_logprobs[:top]])
    return TokenLogprob(bytes(found.bytes), min(0.0, found.logprob), found.id, top=alternatives)
