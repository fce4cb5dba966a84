"""Without a seed it is always the same."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

DEFAULT = 42


class FixesTheSeed(Saboteur):
    """Uses one seed wherever the request has none."""

    defect = f"a request without a seed gets {DEFAULT}, each time"
    seen_by = ("D06", "P08", "P09")

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if not request.sampling.HasField("seed"):
            request.sampling.seed = DEFAULT
