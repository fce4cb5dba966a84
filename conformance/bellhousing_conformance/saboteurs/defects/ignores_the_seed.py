"""The seed is ignored."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IgnoresTheSeed(Saboteur):
    """Leaves the seed out of each request."""

    defect = "the seed of a request is ignored"
    seen_by = ("D01",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.sampling.ClearField("seed")
