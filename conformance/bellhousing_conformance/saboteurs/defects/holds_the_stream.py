"""A stream comes all at once."""

from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class HoldsTheStream(Saboteur):
    """Sends every delta when the last one is there."""

    defect = "the deltas of a stream are sent together at its end"
    seen_by = ("S03",)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        held = []
        async for message in messages:
            if message.HasField("started"):
                yield message
            else:
                held.append(message)
        for message in held:
            yield message
