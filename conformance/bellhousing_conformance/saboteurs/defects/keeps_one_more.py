"""`top_k` keeps a token too many."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class KeepsOneMore(Saboteur):
    """Compares with at most where it should with less."""

    defect = "top_k keeps one token more than asked for"
    seen_by = ("P03",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.top_k:
            request.sampling.top_k += 1
