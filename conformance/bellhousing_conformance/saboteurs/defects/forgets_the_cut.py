"""A cut character is not flagged."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ForgetsTheCut(Saboteur):
    """Never says that a sequence ended inside a character."""

    defect = "cut_character is never set"
    seen_by = ("U03",)

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        for end in message.finished.sequences if message.HasField("finished") else ():
            end.cut_character = False
        return (message,)
