"""Few requests fail."""

from collections.abc import AsyncIterator
from itertools import count
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

EVERY = 500


class FailsNowAndThen(Saboteur):
    """Loses the end of one stream in many."""

    defect = f"one stream in {EVERY} ends without Finished"
    seen_by = ("K04",)
    number: ClassVar["count[int]"] = count(1)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        is_lost = next(self.number) % EVERY == 0
        async for message in messages:
            if not (is_lost and message.HasField("finished")):
                yield message
