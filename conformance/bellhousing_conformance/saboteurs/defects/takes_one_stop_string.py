"""Only the first listed stop string counts."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class TakesOneStopString(Saboteur):
    """Forgets every stop string but the first."""

    defect = "of several stop strings only the first of the list is looked for"
    seen_by = ("ST5",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        del request.stopping.strings[1:]
