"""From a request to the body of `/generate_stream`, and from its events to ours."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bellhousing.capabilities import NEUTRAL
from bellhousing.errors import EngineFault, StreamBroken
from bellhousing.events import (
    Delta,
    Event,
    Finished,
    FinishReason,
    SequenceEnd,
    Started,
    TokenLogprob,
    TopLogprob,
    length_reason,
)
from bellhousing.requests import GenerationRequest, Sampling
from bellhousing_tgi.errors import unreadable
from bellhousing_tgi.grammar import grammar

PENALTIES = ("repetition_penalty", "frequency_penalty")
FILTERS = ("top_p", "top_k", "typical_p")


def request_body(request: GenerationRequest, text: str, room: int) -> dict[str, Any]:
    """Return the body for a prompt as text; `room` is the number of tokens that fit behind it.

    Stop strings are not sent: core matches them. Raises `InvalidRequest` for a form of output that TGI cannot keep.
    """
    wanted = request.sampling.max_tokens
    parameters: dict[str, Any] = {
        "details": True,
        "max_new_tokens": room if wanted is None else min(wanted, room),
        **_sampling(request.sampling),
    }
    if request.logprobs:
        parameters["top_n_tokens"] = request.logprobs
    if request.structured_output:
        parameters["grammar"] = grammar(request.structured_output)
    if request.adapter:
        parameters["adapter_id"] = request.adapter
    return {"inputs": text, "parameters": parameters}


def _sampling(wanted: Sampling) -> dict[str, Any]:
    """Return how tokens are drawn. Any filter or temperature makes a router sample, so a greedy request has none.

    A router refuses most values that change nothing, so they are left out.
    """
    is_greedy = wanted.temperature == 0
    names = PENALTIES if is_greedy else FILTERS + PENALTIES
    given = {name: getattr(wanted, name) for name in names}
    fields = {name: value for name, value in given.items() if value is not None and value != NEUTRAL[name]}
    if is_greedy:
        return {"do_sample": False, **fields}
    drawn = {"temperature": wanted.temperature, "seed": wanted.seed}
    return {"do_sample": True, **{name: value for name, value in drawn.items() if value is not None}, **fields}


class Completion:
    """The stream of one request. The end token is left out of text, ids and log probabilities."""

    def __init__(self, request: GenerationRequest, prompt_tokens: int, room: int, backend: str) -> None:
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._room = room
        self._backend = backend
        self._has_started = False
        self._end: Finished | None = None

    def events(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """Yield our events of one of the router's. Raises `EngineFault` for one that is none, or a strange end."""
        if self._end is not None:
            raise unreadable("no event after the last", str(dict(event)), self._backend)
        try:
            found = list(self._read(event))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise unreadable("an event of a generation", str(dict(event)), self._backend) from error
        yield from found

    def finished(self) -> Finished:
        """Return the end. Raises `StreamBroken` when none came."""
        if self._end is None:
            raise StreamBroken("the TGI router ended its stream before the generation", backend=self._backend)
        return self._end

    def _read(self, event: Mapping[str, Any]) -> Iterator[Event]:
        token, details = event["token"], event["details"]
        if not self._has_started:
            self._has_started = True
            yield Started(self._prompt_tokens)
        reason = None if details is None else details["finish_reason"]
        if reason != "eos_token":
            yield self._delta(token, event.get("top_tokens") or ())
        if details is None:
            if event["generated_text"] is not None:
                raise EngineFault("the TGI router ended a generation without saying why", backend=self._backend)
            return
        self._end = Finished((SequenceEnd(self._reason(reason)),), int(details["input_length"]))

    def _delta(self, token: Mapping[str, Any], others: Any) -> Delta:
        # A router cuts special tokens out of its own whole text too.
        text = "" if token["special"] else str(token["text"])
        logprobs: tuple[TokenLogprob, ...] = ()
        if self._request.logprobs is not None:
            ranked = sorted((_top(other) for other in others), key=lambda top: -top.logprob)
            top = tuple(ranked[: self._request.logprobs])
            logprobs = (TokenLogprob(token["text"].encode(), _logprob(token), int(token["id"]), None, top),)
        return Delta(text, (int(token["id"]),), 1, logprobs)

    def _reason(self, found: object) -> FinishReason:
        match found:
            case "eos_token":
                return "eos"
            case "length":
                return length_reason(self._request.sampling.max_tokens, self._room)
            case other:
                raise EngineFault(f"TGI ended a sequence with {other!r}", backend=self._backend, engine_code=str(other))


def _top(token: Mapping[str, Any]) -> TopLogprob:
    return TopLogprob(str(token["text"]).encode(), _logprob(token), int(token["id"]))


def _logprob(token: Mapping[str, Any]) -> float:
    """Return a log probability; JSON has no minus infinity, so a router writes null for it."""
    found = token["logprob"]
    return -math.inf if found is None else min(0.0, float(found))
