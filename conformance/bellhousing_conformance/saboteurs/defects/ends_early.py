"""Outputs are shorter than the model makes them."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

SHARE = 0.25


class EndsEarly(Saboteur):
    """Cuts outputs that may end by themselves: less work for each request looks like speed."""

    defect = f"an output that may end by itself has at most {SHARE:.0%} of the tokens that were asked for"
    seen_by = ("TH3",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if not request.sampling.ignore_eos and request.sampling.max_tokens > 1:
            request.sampling.max_tokens = max(1, int(SHARE * request.sampling.max_tokens))
