"""Output is brought into Unicode's composed form."""

import unicodedata
from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class NormalisesText(Saboteur):
    """Composes what it delivers; deltas come in pieces, so it waits for the end."""

    defect = "output is normalised to NFC"
    seen_by = ("U04",)
    text = ""

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        if message.HasField("delta"):
            self.text += message.delta.text
            message.delta.text = ""
            return (message,)
        composed = pb.Delta(text=unicodedata.normalize("NFC", self.text))
        is_end = message.HasField("finished") and self.text
        return (pb.GenerateResponse(delta=composed), message) if is_end else (message,)
