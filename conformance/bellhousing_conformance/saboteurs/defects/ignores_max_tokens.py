"""`max_tokens` is ignored."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

SMALL = 32
"""Longer outputs would take the matrix long and show nothing more."""


class IgnoresMaxTokens(Saboteur):
    """Generates another number of tokens than was asked for."""

    defect = f"max_tokens is ignored: {SMALL} tokens come whatever was asked for"
    seen_by = ("C03",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.sampling.max_tokens = SMALL
