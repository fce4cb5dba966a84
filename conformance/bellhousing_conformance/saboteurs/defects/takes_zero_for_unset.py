"""Temperature 0 means nothing was said."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class TakesZeroForUnset(Saboteur):
    """Tests a number for truth where it should test whether it is there."""

    defect = "temperature 0 is taken for an unset one"
    seen_by = ("P01",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("temperature") and not request.sampling.temperature:
            request.sampling.ClearField("temperature")
