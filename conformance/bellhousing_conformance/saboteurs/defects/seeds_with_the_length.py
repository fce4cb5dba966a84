"""Draws depend on how long the output may become."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SeedsWithTheLength(Saboteur):
    """Adds `max_tokens` to the seed."""

    defect = "draws depend on max_tokens"
    seen_by = ("C07",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("seed"):
            request.sampling.seed = (request.sampling.seed + request.sampling.max_tokens) % 2**32
