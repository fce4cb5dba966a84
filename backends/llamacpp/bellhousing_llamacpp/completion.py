"""llama.cpp's native `/completion`: the body of a request, and its stream of frames as events."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgspec

from bellhousing.errors import BellhousingError, StreamBroken
from bellhousing.events import Delta, Event, Finished, FinishReason, SequenceEnd, Started, TokenLogprob, TopLogprob
from bellhousing.requests import GenerationRequest, StructuredOutput
from bellhousing_llamacpp.errors import NAME, error_of_body
from bellhousing_llamacpp.vocabulary import Vocabulary

DATA, ERROR = b"data: ", b"error: "


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
    """One frame of the stream."""

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
    request: GenerationRequest,
    prompt: str | list[int],
    constraint: dict[str, Any],
    *,
    context_length: int,
    prefix_cache: bool,
) -> dict[str, Any]:
    """Return the body. Every parameter is sent, so that none of the engine's own defaults is in force."""
    s = request.sampling
    body: dict[str, Any] = {
        "prompt": prompt,
        "stream": True,
        "return_progress": True,
        "cache_prompt": prefix_cache,
        "n_predict": -1 if s.max_tokens is None else min(s.max_tokens, 2**31 - 1),
        "temperature": s.temperature,
        "top_k": s.top_k,
        "top_p": s.top_p,
        "min_p": s.min_p,
        "typical_p": s.typical_p,
        "repeat_penalty": s.repetition_penalty,
        "repeat_last_n": context_length,
        "presence_penalty": s.presence_penalty,
        "frequency_penalty": s.frequency_penalty,
        "seed": s.seed,
        "ignore_eos": bool(s.ignore_eos),
        **constraint,
    }
    if s.logit_bias:
        body["logit_bias"] = [[token, bias] for token, bias in s.logit_bias.items()]
    if request.logprobs is not None:
        # Without alternatives the engine would leave out the chosen token as well.
        body["n_probs"] = max(1, request.logprobs)
    return body


class Stream:
    """Turns the frames of one completion into events."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self._top = request.logprobs
        self._structured: StructuredOutput | None = request.structured_output
        self._vocabulary = vocabulary
        self._counted = 0
        self._is_started = False
        self._silent: Delta | None = None

    async def events(self, response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
        """Yield the events of a streamed answer. Raises `StreamBroken` when its last frame is missing."""
        async for line in response.content:
            if line.startswith(DATA):
                frame = _decode(line[len(DATA) :])
                for event in self._of(frame):
                    yield event
                if frame.stop:
                    return
            elif line.startswith(ERROR):
                raise self._error(msgspec.json.decode(line[len(ERROR) :]))
        raise StreamBroken("llama.cpp's stream ended without its last frame", backend=NAME)

    def _of(self, frame: Frame) -> Iterator[Event]:
        if frame.error is not None:
            raise self._error(frame.error)
        if not self._is_started:
            self._is_started = True
            yield _started(frame)
        if frame.prompt_progress is not None:
            return
        if frame.stop:
            yield from self._end(frame)
        else:
            yield from self._token(frame)

    def _token(self, frame: Frame) -> Iterator[Event]:
        """Yield a token; one without text waits, since it may turn out to be the end token."""
        if self._silent:
            yield self._silent
            self._silent = None
        delta = self._delta(frame)
        self._counted = frame.tokens_predicted
        if frame.content:
            yield delta
        else:
            self._silent = delta

    def _delta(self, frame: Frame) -> Delta:
        count = max(1, frame.tokens_predicted - self._counted)
        ids: tuple[int, ...] = tuple(frame.tokens)
        if len(ids) == 1 and count > 1:
            ids = self._vocabulary.recover(frame.content.encode(), ids[0], count) or ()
        elif len(ids) != count:
            ids = ()
        logprobs = () if self._top is None else tuple(_logprob(p, self._top) for p in frame.completion_probabilities)
        return Delta(frame.content, ids, count, logprobs)

    def _end(self, frame: Frame) -> Iterator[Event]:
        is_eos = frame.stop_type == "eos"
        if self._silent and not is_eos:
            yield self._silent
        # Tokens of a character that was cut by the limit come in no frame; their number is known, their ids are not.
        missing = frame.tokens_predicted - self._counted
        if missing > 0 and not is_eos:
            yield Delta("", (), missing)
        timings = frame.timings or Timings()
        yield Finished(
            (SequenceEnd(_reason(frame)),), frame.tokens_evaluated, timings.cache_n, timings.prompt_ms / 1000
        )

    def _error(self, found: Any) -> BellhousingError:
        return error_of_body(found, self._structured)


def _started(frame: Frame) -> Started:
    progress = frame.prompt_progress
    return Started(progress.total, progress.cache) if progress else Started(frame.tokens_evaluated or None)


def _reason(frame: Frame) -> FinishReason:
    if frame.stop_type == "eos":
        return "eos"
    if frame.stop_type == "limit":
        return "context_length" if frame.truncated else "max_tokens"
    return "unspecified_stop"


def _logprob(found: Probability, top: int) -> TokenLogprob:
    alternatives = tuple(TopLogprob(bytes(p.bytes), min(0.0, p.logprob), p.id) for p in found.top_logprobs[:top])
    return TokenLogprob(bytes(found.bytes), min(0.0, found.logprob), found.id, top=alternatives)
