"""`ignore_eos` is ignored."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IgnoresIgnoreEos(Saboteur):
    """Ends at the end token although the request says to go on."""

    defect = "ignore_eos is ignored"
    seen_by = ("ST6", "C03")

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.sampling.ignore_eos = False
