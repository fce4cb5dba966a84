"""`top_p` displaces `top_k`."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DropsTopKBesideTopP(Saboteur):
    """Leaves top_k out of a request that has top_p too."""

    defect = "top_k is ignored when top_p is set"
    seen_by = ("P07",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("top_p"):
            request.sampling.ClearField("top_k")
