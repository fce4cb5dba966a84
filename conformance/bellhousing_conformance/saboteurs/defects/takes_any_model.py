"""An unknown model is taken for the only one."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class TakesAnyModel(Saboteur):
    """Forgets which model was asked for."""

    defect = "an unknown model is served by the only one there is"
    seen_by = ("E02",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        request.model = ""
