"""From a request to the body of `/v1/completions`, and from its stream to events."""

from collections.abc import Iterator, Sequence
from typing import Any

from bellhousing.errors import EngineFault
from bellhousing.events import (
    Delta,
    Event,
    Finished,
    FinishReason,
    SequenceEnd,
    Started,
    TokenLogprob,
    TopLogprob,
)
from bellhousing.requests import GenerationRequest
from bellhousing_vllm.attached.api import NAME
from bellhousing_vllm.endings import finish_reason
from bellhousing_vllm.sampling import sampling_fields, structured_fields


def request_body(request: GenerationRequest, model: str, ids: Sequence[int], room: int) -> dict[str, Any]:
    """Return the body; `room` is the number of tokens that fit behind the prompt."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(ids),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
        "request_id": request.id,
        **sampling_fields(request, room),
    }
    if "logit_bias" in body:
        body["logit_bias"] = {str(i): bias for i, bias in body["logit_bias"].items()}
    if request.structured_output:
        body["structured_outputs"] = structured_fields(request.structured_output)
    return body


class Completion:
    """The stream of one request. The end token is left out of text, ids and log probabilities."""

    def __init__(self, request: GenerationRequest, prompt_tokens: int, room: int) -> None:
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._cached_tokens: int | None = None
        self._room = room
        self._ends: dict[int, SequenceEnd] = {}
        self._has_started = False

    @property
    def has_ended(self) -> bool:
        """Whether every sequence has ended."""
        return len(self._ends) == (self._request.sampling.n or 1)

    def events(self, chunk: dict[str, Any]) -> Iterator[Event]:
        """Yield the events of one chunk. Raises `EngineFault` for an end that is none."""
        if not self._has_started:
            self._has_started = True
            yield Started(self._prompt_tokens)
        for choice in chunk["choices"]:
            delta = self._delta(choice)
            if delta:
                yield delta
            if choice.get("finish_reason") is not None:
                self._ends[choice["index"]] = SequenceEnd(self._reason(choice), choice["index"])
        details = (chunk.get("usage") or {}).get("prompt_tokens_details") or {}
        self._cached_tokens = details.get("cached_tokens", self._cached_tokens)

    def finished(self) -> Finished:
        """Return the end of all sequences."""
        ends = tuple(self._ends[index] for index in sorted(self._ends))
        return Finished(ends, self._prompt_tokens, self._cached_tokens)

    def _delta(self, choice: dict[str, Any]) -> Delta | None:
        ids = choice.get("token_ids")
        if ids is None:
            raise EngineFault("the vLLM server sends no token ids: expected a newer version", backend=NAME)
        if choice.get("finish_reason") == "stop" and ids and self._is_end(choice):
            ids = ids[:-1]
        if not (ids or choice["text"]):
            return None
        logprobs = tuple(self._logprobs(ids, choice.get("logprobs")))
        return Delta(choice["text"], tuple(ids), len(ids), logprobs, choice["index"])

    def _logprobs(self, ids: Sequence[int], found: dict[str, Any] | None) -> Iterator[TokenLogprob]:
        """Yield an entry for each token. The API names the others by their text alone, so they have no ids."""
        wanted = self._request.logprobs
        if found is None or wanted is None:
            return
        alternatives = found.get("top_logprobs") or [None] * len(ids)
        entries = zip(ids, found["tokens"], found["token_logprobs"], alternatives, strict=False)
        for token, text, logprob, others in entries:
            best = sorted((others or {}).items(), key=lambda item: -item[1])[:wanted]
            top = tuple(TopLogprob(t.encode(), value) for t, value in best)
            yield TokenLogprob(text.encode(), logprob, token, None, top)

    def _is_end(self, choice: dict[str, Any]) -> bool:
        """Tell whether the end token ended it: vLLM names other stops, and those ends that the model adds."""
        return choice.get("stop_reason") not in self._request.stopping.token_ids

    def _reason(self, choice: dict[str, Any]) -> FinishReason:
        is_end, wanted = self._is_end(choice), self._request.sampling.max_tokens
        return finish_reason(choice["finish_reason"], is_end=is_end, wanted=wanted, room=self._room, backend=NAME)
