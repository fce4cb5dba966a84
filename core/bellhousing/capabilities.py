"""What a model can honour: the fields of `GenerateRequest` by path, each with its range.

`FIELDS` is the contract's own domain of each field. A backend names the fields it supports and may narrow a range; it
can never widen one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from bellhousing.requests import Sampling

AdapterSupport = Literal["none", "static", "dynamic", "derived"]
Determinism = Literal["none", "solo", "batch_invariant"]
LogprobsMode = Literal["unspecified", "raw", "processed"]


@dataclass(frozen=True, slots=True)
class Range:
    """Allowed values of a field. `max_items` bounds a list or map. None is no bound."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    max_items: int | None = None

    def violation(self, value: float) -> str | None:
        """Return what is wrong with `value`, as a phrase that ends in the value found; None if nothing is."""
        if math.isnan(value):
            return "must be a number, found NaN"
        low, high = self.minimum, self.maximum
        if low is not None and (value < low or (self.exclusive_minimum and value == low)):
            return f"must be {'above' if self.exclusive_minimum else 'at least'} {low:g}, found {value:g}"
        if high is not None and (value > high or (self.exclusive_maximum and value == high)):
            return f"must be {'below' if self.exclusive_maximum else 'at most'} {high:g}, found {value:g}"
        return None

    def exceeds(self, other: "Range") -> bool:
        """Tell whether a value may be within this range and outside the other."""
        low = other.minimum is not None and (self.minimum is None or self.minimum < other.minimum)
        high = other.maximum is not None and (self.maximum is None or self.maximum > other.maximum)
        more = other.max_items is not None and (self.max_items is None or self.max_items > other.max_items)
        return low or high or more


UINT32_MAX = 2**32 - 1
_ANY = Range()

FIELDS: Mapping[str, Range] = {
    "text": _ANY,
    "token_ids": _ANY,
    "chat": _ANY,
    "chat.template_arguments": _ANY,
    "sampling.max_tokens": Range(1, UINT32_MAX),
    "sampling.min_tokens": Range(0, UINT32_MAX),
    "sampling.temperature": Range(0, 100),
    "sampling.top_p": Range(0, 1, exclusive_minimum=True),
    "sampling.top_k": Range(0, UINT32_MAX),
    "sampling.min_p": Range(0, 1),
    "sampling.typical_p": Range(0, 1, exclusive_minimum=True),
    "sampling.repetition_penalty": Range(0, 100, exclusive_minimum=True),
    "sampling.presence_penalty": Range(-2, 2),
    "sampling.frequency_penalty": Range(-2, 2),
    "sampling.seed": Range(0, UINT32_MAX),
    "sampling.logit_bias": Range(-100, 100, max_items=1024),
    "sampling.n": Range(1, 128),
    "sampling.ignore_eos": _ANY,
    "stopping.strings": Range(max_items=16),
    "stopping.token_ids": Range(0, UINT32_MAX, max_items=64),
    "stopping.include_stop": _ANY,
    "logprobs.top": Range(0, 1024),
    "logprobs.prompt_top": Range(0, 1024),
    "structured_output.json_schema": _ANY,
    "structured_output.json_object": _ANY,
    "structured_output.regex": _ANY,
    "structured_output.grammar": _ANY,
    "structured_output.choice": Range(max_items=1024),
    "adapter": _ANY,
    "priority": _ANY,
    "time_budget": _ANY,
}

NEUTRAL: Mapping[str, float] = {
    "min_tokens": 0,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "n": 1,
    "ignore_eos": False,
}
"""The value of each sampling field that leaves the model's own distribution as it is."""

EXAMPLES: Mapping[str, float] = {
    "max_tokens": 4,
    "min_tokens": 1,
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.05,
    "typical_p": 0.9,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "seed": 7,
    "n": 2,
    "logit_bias": -1.0,
}
"""A value for each sampling parameter that takes a number, for engines whose range includes it."""

BY_SERVER: tuple[str, ...] = ("stopping.strings", "stopping.include_stop", "priority", "time_budget")
"""Fields that core honours by itself, for every engine; and `stopping.token_ids` where deltas carry ids."""


def parameters(*names: str, **narrowed: Range) -> dict[str, Range]:
    """Return the contract's ranges of the named fields. Keywords narrow a range: `sampling__top_k=Range(1, 100)`.

    Raises `KeyError` for a name that is no field of the contract.
    """
    chosen = {name: FIELDS[name] for name in names}
    for key, limits in narrowed.items():
        name = key.replace("__", ".")
        chosen[name] = _intersect(FIELDS[name], limits)
    return chosen


def _intersect(outer: Range, inner: Range) -> Range:
    """Return `inner` where it sets a bound and `outer` elsewhere."""
    result = outer
    if inner.minimum is not None:
        result = replace(result, minimum=inner.minimum, exclusive_minimum=inner.exclusive_minimum)
    if inner.maximum is not None:
        result = replace(result, maximum=inner.maximum, exclusive_maximum=inner.exclusive_maximum)
    if inner.max_items is not None:
        result = replace(result, max_items=inner.max_items)
    return result


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What requests to a model may ask for. `parameters` maps a field's path to its range; see `parameters()`.

    `static_adapters` are those that the engine was started with: name to digest, "" where unknown. An engine that loads
    others while it serves (`dynamic`) may have some too.
    """

    parameters: dict[str, Range] = field(default_factory=dict)
    token_ids: bool = False
    tokenize: bool = False
    detokenize: bool = False
    embed: bool = False
    adapters: AdapterSupport = "none"
    static_adapters: Mapping[str, str] = field(default_factory=dict)
    sleep: bool = False
    determinism: Determinism = "none"
    logprobs_mode: LogprobsMode = "unspecified"
    grammar_syntax: str = ""
    prefix_cache: bool = False
    joined_characters: bool = False

    def range_of(self, name: str) -> Range | None:
        """Return the range of a field that is honoured, by the backend or by core; None for one that is not."""
        if self.is_by_server(name):
            return FIELDS[name]
        return self.parameters.get(name)

    def is_by_server(self, name: str) -> bool:
        """Tell whether core itself honours the field."""
        return name in BY_SERVER or (name == "stopping.token_ids" and self.token_ids)

    def neutral(self) -> Sampling:
        """Return the sampling that draws from the model's own distribution, in the fields that are honoured."""
        values = {name: value for name, value in NEUTRAL.items() if f"sampling.{name}" in self.parameters}
        return replace(Sampling(), **values)  # type: ignore[arg-type]

    def beyond(self, other: "Capabilities") -> list[str]:
        """Return the names of what is honoured here but not in `other`, or only in a narrower range."""
        theirs, flags = other.honoured(), ("token_ids", "tokenize", "detokenize", "embed", "sleep", "prefix_cache")
        names = [name for name, own in self.honoured().items() if name not in theirs or own.exceeds(theirs[name])]
        names += [name for name in flags if getattr(self, name) and not getattr(other, name)]
        within = {"none", "static", other.adapters} if other.adapters == "dynamic" else {"none", other.adapters}
        return names + ["adapters"] * (self.adapters not in within)

    def honoured(self) -> dict[str, Range]:
        """Return every honoured field with its range, in the contract's order."""
        ranges = {name: self.range_of(name) for name in FIELDS}
        return {name: limits for name, limits in ranges.items() if limits is not None}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that a backend's configurations and models can honour, known without an engine."""

    least: Capabilities = Capabilities()
    most: Capabilities = Capabilities()
