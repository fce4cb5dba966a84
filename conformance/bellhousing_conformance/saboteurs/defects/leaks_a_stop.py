"""The first character of a stop string is delivered."""

from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class LeaksAStop(Saboteur):
    """Sends the first character of the matched stop string before Finished."""

    defect = "the first character of a matched stop string is delivered"
    seen_by = ("ST1",)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        async for message in messages:
            for end in message.finished.sequences:
                if end.stop_string:
                    yield pb.GenerateResponse(delta=pb.Delta(index=end.index, text=end.stop_string[0]))
            yield message
