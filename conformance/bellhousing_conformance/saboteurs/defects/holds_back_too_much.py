"""A request with stop strings streams nothing before its end."""

from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class HoldsBackTooMuch(Saboteur):
    """Looks for stop strings in the whole output, and delivers it afterwards."""

    defect = "with a stop string all text is held back until the sequence has ended"
    seen_by = ("ST4",)
    has_stops = False

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.has_stops = bool(request.stopping.strings)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        held: list[pb.GenerateResponse] = []
        async for message in messages:
            held.append(message)
            if not self.has_stops or not message.HasField("delta"):
                for each in held:
                    yield each
                held = []
