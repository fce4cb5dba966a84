"""A delta follows Finished."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SpeaksAfterTheEnd(Saboteur):
    """Sends an empty delta after Finished."""

    defect = "a delta follows Finished"
    seen_by = ("S02",)

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        after = pb.GenerateResponse(delta=pb.Delta())
        return (message, after) if message.HasField("finished") else (message,)
