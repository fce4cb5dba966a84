"""The beginning of a long stop string is delivered."""

from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

WINDOW = 6


class LeaksALongStop(Saboteur):
    """Holds a fixed number of characters back, so that the beginning of a longer stop string gets out."""

    defect = f"{WINDOW} characters are held back for a stop string, however long it is"
    seen_by = ("ST3", "ST2")

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        async for message in messages:
            for end in message.finished.sequences:
                if len(end.stop_string) > WINDOW:
                    yield pb.GenerateResponse(delta=pb.Delta(index=end.index, text=end.stop_string[:-WINDOW]))
            yield message
