"""Decode loses precision with every token."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

LOSS = 0.02


class DriftsInDecode(Saboteur):
    """Moves log probabilities away from the truth, the more the longer the output is."""

    defect = f"log probabilities in decode are off by {LOSS} nats more with each token, and best tokens change places"
    seen_by = ("LP5", "LP3", "LP4")
    tokens = 0

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        for entry in message.delta.logprobs:
            self.tokens += 1
            loss = LOSS * self.tokens
            entry.logprob -= loss
            for place, each in enumerate(entry.top):
                each.logprob -= loss if place == 0 else 0.0
            entry.top.sort(key=lambda each: -each.logprob)
        return (message,)
