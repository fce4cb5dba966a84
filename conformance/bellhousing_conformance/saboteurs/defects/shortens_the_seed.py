"""Only a part of the seed counts."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ShortensTheSeed(Saboteur):
    """Keeps 16 bits of the seed."""

    defect = "seeds are cut to their lower 16 bits"
    seen_by = ("D02",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("seed"):
            request.sampling.seed &= 0xFFFF
