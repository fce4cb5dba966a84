"""Ollama's `/api/generate` and `/api/chat`: the body of a request, and the lines of its stream as events."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

from bellhousing.errors import BellhousingError, EngineFault, InvalidRequest, Violation
from bellhousing.events import Delta, Event, Finished, FinishReason, SequenceEnd, Started, TokenLogprob, TopLogprob
from bellhousing.json_schema import SchemaError
from bellhousing.requests import Chat, GenerationRequest, Sampling, StructuredOutput
from bellhousing_ollama.errors import NAME, broken, error_of_message
from bellhousing_ollama.schema import checked_schema

COLDEST = 1e-6
"""Below it llama.cpp's logits overflow; it is greedy long before."""
NANOSECONDS = 1e9


class Logprob(msgspec.Struct):
    """The log probability of a token; `bytes` are its bytes as numbers."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list["Logprob"] = []


class Message(msgspec.Struct):
    """The message of a chat's frame. What we did not ask for, Ollama should not send: see `Stream`."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[Any] = []


class Frame(msgspec.Struct):
    """One line of the stream. The counts, in tokens, and the durations, in nanoseconds, come with the last."""

    response: str = ""
    thinking: str = ""
    message: Message | None = None
    logprobs: list[Logprob] = []
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int | None = None
    prompt_eval_cached_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int = 0
    error: str | None = None


_decode = msgspec.json.Decoder(Frame).decode


def request_path(request: GenerationRequest) -> str:
    """Return the path of the API for a request's kind of prompt."""
    return "/api/chat" if isinstance(request.prompt, Chat) else "/api/generate"


def request_body(
    request: GenerationRequest, model: str, *, context_length: int, runner: Mapping[str, int]
) -> dict[str, Any]:
    """Return the body. `runner` are the options that would load the model anew if they changed: always the same.

    Raises `InvalidRequest` for a prompt that Ollama would not generate from.
    """
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        # Otherwise what does not fit loses its middle without a word.
        "truncate": False,
        "shift": False,
        "options": {**_options(request.sampling, context_length), **runner},
    }
    if isinstance(request.prompt, Chat):
        body["messages"] = _messages(request.prompt)
    elif isinstance(request.prompt, str) and request.prompt:
        body |= {"prompt": request.prompt, "raw": True}
    else:
        raise InvalidRequest([Violation("text", "must have at least one token, found none")], backend=NAME)
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.structured_output:
        body["format"] = _format(request.structured_output)
    return body


def tokens_wanted(sampling: Sampling, context_length: int) -> int:
    """Return `num_predict`: never 0, which would mean without limit, nor more than the context holds."""
    return min(sampling.max_tokens or context_length, context_length)


def _options(s: Sampling, context_length: int) -> dict[str, Any]:
    """Return every sampling option, so that no default of Ollama or of its model file is in force."""
    cold = s.temperature is not None and s.temperature < COLDEST
    options: dict[str, Any] = {
        "num_predict": tokens_wanted(s, context_length),
        "temperature": 0.0 if cold else s.temperature,
        "top_k": s.top_k,
        "top_p": s.top_p,
        "min_p": s.min_p,
        "typical_p": s.typical_p,
        "repeat_penalty": s.repetition_penalty,
        "repeat_last_n": context_length,
        # Its own count the prompt's tokens too, the contract's only generated ones: not declared, so always off.
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": s.seed,
        # Stop strings are core's affair, and those of the model file would end a raw prompt as well.
        "stop": [],
    }
    return {name: value for name, value in options.items() if value is not None}


def _messages(chat: Chat) -> list[dict[str, str]]:
    if not chat.messages:
        raise InvalidRequest([Violation("chat.messages", "must have at least one message, found none")], backend=NAME)
    if not chat.add_generation_prompt:
        found = "must be true: Ollama always asks for the assistant's turn"
        raise InvalidRequest([Violation("chat.add_generation_prompt", found)], backend=NAME)
    if any(message.name for message in chat.messages):
        raise InvalidRequest([Violation("chat.messages.name", "must be unset: Ollama has no names")], backend=NAME)
    return [message.for_template() for message in chat.messages]


def _format(wanted: StructuredOutput) -> Any:
    if wanted.kind == "json_object":
        return "json"
    try:
        return checked_schema(wanted.value)
    except SchemaError as error:
        raise InvalidRequest([Violation("structured_output.json_schema", str(error))], backend=NAME) from error


class Stream:
    """Turns the lines of one generation into events.

    Ollama tells no token ids, and a frame's number of tokens only at the end and for all frames together. It sends a
    frame for each token, but holds back one that ends inside a character until the character is whole. So a frame
    counts as one token, and the last line's `eval_count`, without the end token, brings the number of those held back:
    a delta without text tells them, just before the end. The log probabilities of those are not to be had.
    """

    def __init__(self, request: GenerationRequest, context_length: int) -> None:
        self._request = request
        self._wanted = tokens_wanted(request.sampling, context_length)
        self._delivered = 0

    async def events(self, lines: AsyncIterator[bytes]) -> AsyncIterator[Event]:
        """Yield the events. Raises what an error line says, and `EngineFault` for a stream without its last line."""
        is_started = False
        async for line in lines:
            frame = self._frame(line)
            if not is_started:
                is_started = True
                yield Started()
            for event in self._of(frame):
                yield event
            if frame.done:
                return
        raise EngineFault(
            "Ollama's stream ended without its last line",
            reason="ENGINE_STREAM_BROKEN",
            backend=NAME,
            hint="Ollama does so for more than 30 equal tokens in a row, and for output that is not UTF-8.",
        )

    def _frame(self, line: bytes) -> Frame:
        try:
            frame = _decode(line)
        except msgspec.MsgspecError as error:
            raise broken(f"{line[:80]!r} ({error})", "a line of its stream") from error
        if frame.error is not None:
            raise self.error(frame.error)
        message = frame.message or Message()
        if frame.thinking or message.thinking or message.tool_calls:
            raise broken("thinking or tool calls apart from the text", "text alone")
        return frame

    def error(self, message: str) -> BellhousingError:
        """Return the error of an error line."""
        return error_of_message(500, message, self._request)

    def _of(self, frame: Frame) -> Iterator[Event]:
        text = frame.message.content if frame.message else frame.response
        if text or frame.logprobs:
            count = max(1, len(frame.logprobs))
            self._delivered += count
            yield Delta(text, (), count, self._logprobs(frame.logprobs))
        if frame.done:
            yield from self._end(frame)

    def _logprobs(self, found: list[Logprob]) -> tuple[TokenLogprob, ...]:
        top = self._request.logprobs
        if top is None:
            return ()
        return tuple(
            TokenLogprob(_bytes(one), min(0.0, one.logprob), top=tuple(map(_top, one.top_logprobs[:top])))
            for one in found
        )

    def _end(self, frame: Frame) -> Iterator[Event]:
        reason = self._reason(frame)
        missing = frame.eval_count - (reason == "eos") - self._delivered
        if missing > 0:
            yield Delta("", (), missing)
        seconds = None if frame.prompt_eval_duration is None else frame.prompt_eval_duration / NANOSECONDS
        end = SequenceEnd(reason)
        yield Finished((end,), frame.prompt_eval_count, frame.prompt_eval_cached_count, seconds)

    def _reason(self, frame: Frame) -> FinishReason:
        if frame.done_reason == "stop":
            return "eos"  # no stop string was sent
        if frame.done_reason == "length":
            return "max_tokens" if frame.eval_count >= self._wanted else "context_length"
        raise broken(f"done_reason {frame.done_reason!r}", "done_reason stop or length")


def _bytes(found: Logprob) -> bytes:
    return found.token.encode() if found.bytes is None else bytes(found.bytes)


def _top(found: Logprob) -> TopLogprob:
    return TopLogprob(_bytes(found), min(0.0, found.logprob))
