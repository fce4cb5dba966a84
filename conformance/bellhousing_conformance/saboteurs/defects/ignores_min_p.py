"""`min_p` is ignored."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IgnoresMinP(Saboteur):
    """Leaves min_p out."""

    defect = "min_p is ignored"
    seen_by = ("P05",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.sampling.ClearField("min_p")
