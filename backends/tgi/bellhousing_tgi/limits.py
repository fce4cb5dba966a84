"""How many tokens a router lets one request have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

PIECE = 1024
"""A router generates a long output in pieces of so many tokens, and takes the whole text as the prompt of the next."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A router's own limits of one request, in tokens, and how many requests it takes at once."""

    max_input_tokens: int
    max_total_tokens: int
    max_concurrent_requests: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """Return the limits in an answer of `/info`. Raises `KeyError` where it is not TGI 3's."""
        names = ("max_input_tokens", "max_total_tokens", "max_concurrent_requests")
        return cls(*(int(info[name]) for name in names))

    def room(self, prompt_tokens: int) -> int:
        """Return how many tokens fit behind a prompt; 0 or less where the prompt itself does not.

        A router ends an output of more than 1024 tokens, with no word of it, at the first multiple of 1024 at which
        prompt and output are longer than `max_input_tokens`.
        """
        if prompt_tokens > self.max_input_tokens:
            return self.max_input_tokens - prompt_tokens
        most = self.max_total_tokens - prompt_tokens
        room = min(most, PIECE)
        while room < most and prompt_tokens + room <= self.max_input_tokens:
            room = min(most, room + PIECE)
        return room
