"""O1: the simulator's Markov chain, whose probabilities are exact."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bellhousing.requests import Sampling
from bellhousing.v1 import discovery_pb2

if TYPE_CHECKING:
    from bellhousing_simulator import Chain


class SimulatorOracle:
    """The chain of a simulator with default weights."""

    name = "simulator"

    def __init__(self, chain: "Chain") -> None:
        self._chain = chain

    def ids(self, text: str) -> Sequence[int]:
        """See `Reference.ids`."""
        from bellhousing_simulator.vocabulary import tokenise

        return tokenise(text)

    def logprobs(self, context: Sequence[int]) -> Mapping[int, float]:
        """See `Oracle.logprobs`."""
        values = self._chain.logprobs(context[-1] if context else None)
        return {token: value for token, value in enumerate(values) if value > -math.inf}

    def along(self, prompt: Sequence[int], output: Sequence[int]) -> Sequence[Mapping[int, float]]:
        """See `Reference.along`."""
        return [self.logprobs([*prompt, *output[:place]]) for place in range(len(output))]

    def probabilities(self, context: Sequence[int], sampling: Sampling) -> Mapping[int, float]:
        """See `Oracle.probabilities`; `context` counts as prompt."""
        previous = context[-1] if context else None
        values = self._chain.probabilities(previous, sampling, prompt=context)
        return {token: value for token, value in enumerate(values) if value > 0}


def oracle_of(model: discovery_pb2.Model) -> SimulatorOracle | None:
    """Return the oracle when the target's digest is that of a chain with default options; None otherwise."""
    try:
        from bellhousing_simulator import Chain, SimulatorOptions
    except ModuleNotFoundError:
        return None
    options = SimulatorOptions()
    chain = Chain(options.weights_seed, options.end_probability)
    return SimulatorOracle(chain) if chain.digest == model.model_digest else None
