"""Fields that the model cannot honour are dropped silently."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class IgnoresWhatItLacks(Saboteur):
    """Takes structured output, but for a choice, out of each request."""

    defect = "a JSON schema, regex or grammar is ignored where it is declared absent"
    seen_by = ("C02",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.structured_output.WhichOneof("kind") != "choice":
            request.ClearField("structured_output")
