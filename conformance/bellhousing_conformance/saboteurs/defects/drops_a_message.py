"""A delta is lost."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DropsAMessage(Saboteur):
    """Loses the second delta of each stream."""

    defect = "the second delta of each stream is lost"
    seen_by = ("S01", "C04")
    deltas = 0

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.deltas += message.HasField("delta")
        return () if message.HasField("delta") and self.deltas == 2 else (message,)
