"""What a backend yields while it generates."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Started:
    """The engine has taken the request. Counts are in tokens; None where the engine tells them only at the end."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """One of the most probable tokens at a position; `logprob` is a natural logarithm."""

    token: bytes
    logprob: float
    id: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's log probability, its rank from 1 where known, and the most probable tokens, best first."""

    token: bytes
    logprob: float
    id: int | None = None
    rank: int | None = None
    top: tuple[TopLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of output of sequence `index`.

    `text` may be bytes that end inside a character: core joins them. `token_count` is the number of tokens in this
    delta; with ids it equals their number, and `logprobs`, when asked for, has as many entries. The model's end token
    is left out of all of them.
    """

    text: str | bytes
    token_ids: tuple[int, ...] = ()
    token_count: int = 1
    logprobs: tuple[TokenLogprob, ...] = ()
    index: int = 0
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


FinishReason = Literal[
    "eos", "stop_token", "stop_string", "max_tokens", "context_length", "time_budget", "repetition", "unspecified_stop"
]
"""Why a sequence ended. Backends never say `stop_string`, `stop_token` or `time_budget`: core does."""


@dataclass(frozen=True, slots=True)
class SequenceEnd:
    """Why sequence `index` ended. A failure is an exception, never a reason.

    `cut_character` tells of an end inside a character whose bytes the engine keeps; core sees by itself where a delta's
    bytes are no whole character.
    """

    reason: FinishReason
    index: int = 0
    cut_character: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The generation ended well: one `SequenceEnd` a sequence, and the engine's own figures where it tells them."""

    sequences: tuple[SequenceEnd, ...]
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    engine_prefill_seconds: float | None = None


Event = Started | Delta | Finished


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a long operation: `done` of `total` in `unit`; total 0 where it is not known."""

    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""


def length_reason(wanted: int | None, room: int) -> FinishReason:
    """Return why a sequence ended that became as long as it may: `room` is what fits behind the prompt, in tokens."""
    return "max_tokens" if wanted is not None and wanted <= room else "context_length"
