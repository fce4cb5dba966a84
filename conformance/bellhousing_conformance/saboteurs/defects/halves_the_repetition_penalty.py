"""The repetition penalty is weaker than asked for."""

import math

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class HalvesTheRepetitionPenalty(Saboteur):
    """Applies the root of the penalty: half of it, on the scale on which 1 is none."""

    defect = "repetition_penalty is applied by its square root"
    seen_by = ("P10",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("repetition_penalty"):
            request.sampling.repetition_penalty = math.sqrt(request.sampling.repetition_penalty)
