"""Log probabilities cost another path."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DrawsOtherwiseWithLogprobs(Saboteur):
    """Draws by another seed when log probabilities are asked for."""

    defect = "draws are others when log probabilities are asked for"
    seen_by = ("LP6",)

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.HasField("logprobs") and request.sampling.HasField("seed"):
            request.sampling.seed = (request.sampling.seed + 1) % 2**32
