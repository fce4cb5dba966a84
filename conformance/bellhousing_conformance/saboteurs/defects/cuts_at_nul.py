"""A prompt ends at its first NUL, as a C string does."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class CutsAtNul(Saboteur):
    """Takes a text prompt for a C string."""

    defect = "a text prompt is cut at its first NUL"
    seen_by = ("U04",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.HasField("text"):
            request.text = request.text.partition("\x00")[0]
