"""Log probabilities to another base."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

LOG10_OF_E = 0.4342944819


class TellsOtherLogarithms(Saboteur):
    """Tells decimal logarithms for natural ones."""

    defect = "log probabilities are decimal logarithms"
    seen_by = ("LP1", "LP3", "Q02")

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        for entry in message.delta.logprobs:
            spoken: list[pb.TokenLogprob | pb.TopLogprob] = [entry, *entry.top]
            for each in spoken:
                each.logprob *= LOG10_OF_E
        return (message,)
