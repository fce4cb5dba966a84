"""Temperature 0 is not greedy."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IsNeverGreedy(Saboteur):
    """Draws at temperature 2 where 0 was asked for."""

    defect = "temperature 0 is taken for unset, and the default is 2"
    seen_by = ("Q04",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("temperature") and request.sampling.temperature == 0:
            request.sampling.temperature = 2.0
