"""A special token is put in front of ids."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DoublesTheBos(Saboteur):
    """Repeats the first id of a prompt of token ids, as one that adds BOS to a prompt which has it."""

    defect = "a prompt of token ids gets its first token twice"
    seen_by = ("C05",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.token_ids.ids:
            request.token_ids.ids.insert(0, request.token_ids.ids[0])
