"""A delta goes to the wrong stream."""

from collections.abc import Iterable
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class CrossesStreams(Saboteur):
    """Gives a stream the third delta of the stream before it, whose place its own third delta takes."""

    defect = "the third delta of a stream is that of the stream before"
    seen_by = ("S05",)
    kept: ClassVar[list[pb.GenerateResponse]] = []
    deltas = 0

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.deltas += message.HasField("delta")
        if not message.HasField("delta") or self.deltas != 3:
            return (message,)
        self.kept.append(message)
        return (self.kept.pop(0) if len(self.kept) > 1 else message,)
