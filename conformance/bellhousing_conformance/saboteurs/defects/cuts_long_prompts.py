"""A prompt that does not fit is cut."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

KEPT = 1000


class CutsLongPrompts(Saboteur):
    """Keeps the end of a long prompt."""

    defect = f"of a prompt, the last {KEPT} tokens or characters are kept and the rest is dropped silently"
    seen_by = ("C08",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.text:
            request.text = request.text[-KEPT:]
        del request.token_ids.ids[:-KEPT]
