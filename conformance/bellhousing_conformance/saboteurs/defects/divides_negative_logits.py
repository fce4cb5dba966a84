"""The repetition penalty divides logits of either sign."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DividesNegativeLogits(Saboteur):
    """Inverts the penalty: the simulator's logits are all negative, so that it divides where it should multiply."""

    defect = "repetition_penalty divides negative logits, which raises what was seen"
    seen_by = ("P10",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("repetition_penalty"):
            request.sampling.repetition_penalty = 1 / request.sampling.repetition_penalty
