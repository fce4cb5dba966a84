"""Usage counts a token more than was delivered."""

from collections.abc import Iterable

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class CountsOneMore(Saboteur):
    """Adds one to the completion tokens of usage."""

    defect = "usage counts one completion token more than was delivered"
    seen_by = ("C04",)

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """See `Saboteur`."""
        if message.HasField("finished"):
            message.finished.usage.completion_tokens += 1
        return (message,)
