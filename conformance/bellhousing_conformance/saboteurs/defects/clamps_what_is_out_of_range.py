"""A value out of range is moved into it."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ClampsWhatIsOutOfRange(Saboteur):
    """Takes the nearest value that is allowed."""

    defect = "a value out of range is silently taken for the nearest allowed one"
    seen_by = ("E01",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        sampling = request.sampling
        if sampling.top_p > 1:
            sampling.top_p = 1.0
        if sampling.temperature < 0:
            sampling.temperature = 0.0
