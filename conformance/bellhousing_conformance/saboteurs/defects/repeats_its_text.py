"""Deltas carry the whole text so far."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class RepeatsItsText(Saboteur):
    """Sends snapshots in place of pieces."""

    defect = "each delta has all the text so far, not its own piece"
    seen_by = ("S06", "S01")
    text = ""

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        if message.HasField("delta"):
            self.text += message.delta.text
            message.delta.text = self.text
        return (message,)
