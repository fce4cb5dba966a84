"""A filter is on that nobody asked for."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class HasHiddenDefaults(Saboteur):
    """Filters by `top_k` where the request says nothing, and does not tell."""

    defect = "top_k is 5 where it is left out, while the model and Started say that it is off"
    seen_by = ("C09", "Q03", "Q05")

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if not request.sampling.HasField("top_k"):
            request.sampling.top_k = 5

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        if message.HasField("started"):
            message.started.effective.top_k = 0
        return (message,)
