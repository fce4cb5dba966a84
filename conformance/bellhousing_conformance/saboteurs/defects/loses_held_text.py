"""Text that waited for a stop string is not delivered at the end."""

from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.known import held_back
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class LosesHeldText(Saboteur):
    """Forgets what it held back when a sequence ends without its stop string."""

    defect = "text held back for a stop string that never completes is lost"
    seen_by = ("ST4",)
    stops: tuple[str, ...] = ()

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.stops = tuple(request.stopping.strings)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        last: pb.GenerateResponse | None = None
        text = ""
        async for message in messages:
            text += message.delta.text
            if last is not None:
                if message.HasField("finished") and not any(end.stop_string for end in message.finished.sequences):
                    lost = max((held_back(text, stop) for stop in self.stops), default=0)
                    last.delta.text = last.delta.text[: max(0, len(last.delta.text) - lost)]
                yield last
            last = message if message.HasField("delta") else None
            if last is None:
                yield message
