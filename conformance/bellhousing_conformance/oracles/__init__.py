"""What the right answer is, where it can be known.

O1 is the simulator's exact model, when the target's digest says that it draws from it. O2 is a float32 reference on the
same weights, which the operator names: the target's own may be coarser, so that agreement has tiers. O3 are
relations between answers of the target itself: checks use them directly and need nothing from here.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bellhousing.requests import Sampling
from bellhousing.v1 import discovery_pb2


class Reference(Protocol):
    """A model that the target's should agree with."""

    name: str

    def ids(self, text: str) -> Sequence[int]:
        """Return the token ids of a text prompt."""
        ...

    def along(self, prompt: Sequence[int], output: Sequence[int]) -> Sequence[Mapping[int, float]]:
        """Return log probabilities for each place of an output, after the prompt and the output before that place."""
        ...


class Oracle(Reference, Protocol):
    """The very model that the target draws from."""

    def logprobs(self, context: Sequence[int]) -> Mapping[int, float]:
        """Return the natural logarithm of each possible next token's probability: no temperature, no filters."""
        ...

    def probabilities(self, context: Sequence[int], sampling: Sampling) -> Mapping[int, float]:
        """Return the probability with which each possible next token is drawn."""
        ...


def oracle_of(model: discovery_pb2.Model) -> Oracle | None:
    """Return the oracle of a target; None when no oracle knows its weights."""
    from bellhousing_conformance.oracles import simulator

    return simulator.oracle_of(model)
