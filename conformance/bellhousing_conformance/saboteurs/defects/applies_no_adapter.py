"""The adapter of a request is ignored."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class AppliesNoAdapter(Saboteur):
    """Serves the base model whatever adapter is asked for."""

    defect = "the adapter of a request is ignored"
    seen_by = ("A02", "A05")

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.adapter = ""
