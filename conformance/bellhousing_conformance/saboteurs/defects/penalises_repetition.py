"""A repetition penalty is on that nobody asked for."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class PenalisesRepetition(Saboteur):
    """Has a default of its own, as engines do."""

    defect = "repetition_penalty is 1.5 where it is left out"
    seen_by = ("P09",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if not request.sampling.HasField("repetition_penalty"):
            request.sampling.repetition_penalty = 1.5
