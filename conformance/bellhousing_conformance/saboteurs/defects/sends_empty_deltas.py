"""Deltas without anything keep the connection warm."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SendsEmptyDeltas(Saboteur):
    """Sends an empty delta after Started."""

    defect = "a stream has a delta without text and tokens"
    seen_by = ("S04",)

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        return (message, pb.GenerateResponse(delta=pb.Delta())) if message.HasField("started") else (message,)
