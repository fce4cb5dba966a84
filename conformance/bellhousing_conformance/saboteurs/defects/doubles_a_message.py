"""A delta is sent twice."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DoublesAMessage(Saboteur):
    """Sends the first delta of each stream twice."""

    defect = "the first delta of each stream is sent twice"
    seen_by = ("S01", "C04")
    deltas = 0

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.deltas += message.HasField("delta")
        return (message, message) if message.HasField("delta") and self.deltas == 1 else (message,)
