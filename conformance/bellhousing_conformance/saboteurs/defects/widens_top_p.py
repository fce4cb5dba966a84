"""`top_p` keeps more than asked for."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class WidensTopP(Saboteur):
    """Adds tokens to the set after it has reached the mass."""

    defect = "top_p keeps a tenth more mass than asked for"
    seen_by = ("P04",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if 0 < request.sampling.top_p < 1:
            request.sampling.top_p = min(1.0, request.sampling.top_p + 0.1)
