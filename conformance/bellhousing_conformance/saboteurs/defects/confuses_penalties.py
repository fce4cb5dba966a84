"""The penalties of presence and frequency are exchanged."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ConfusesPenalties(Saboteur):
    """Takes each of the two penalties for the other."""

    defect = "presence_penalty and frequency_penalty are exchanged"
    seen_by = ("P06",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        sampling = request.sampling
        sampling.presence_penalty, sampling.frequency_penalty = sampling.frequency_penalty, sampling.presence_penalty
