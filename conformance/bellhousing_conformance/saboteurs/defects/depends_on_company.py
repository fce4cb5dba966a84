"""An output depends on what runs beside it."""

from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

CHANGED = 3
LETTERS = 26


class DependsOnCompany(Saboteur):
    """Changes a token of every second stream that does not run alone."""

    defect = "in a batch one token of every second sequence is another"
    seen_by = ("N01", "N02", "TH4")
    running: ClassVar[int] = 0

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        place, count = self.running, 0
        type(self).running += 1
        try:
            async for message in messages:
                count += message.HasField("delta")
                if place % 2 and count == CHANGED and message.delta.token_ids:
                    message.delta.token_ids[0] = (message.delta.token_ids[0] + 1) % LETTERS
                yield message
        finally:
            type(self).running -= 1
