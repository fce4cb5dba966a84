"""The first token is late."""

import asyncio
from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

DELAY_SECONDS = 0.2


class DelaysTheFirstToken(Saboteur):
    """Holds a stream back before its first delta, of which the server's own timeline knows nothing."""

    defect = f"the first token of a stream is held for {DELAY_SECONDS:g} s"
    seen_by = ("M02", "LT1", "LT2", "LT3", "LT5", "LT6", "TH2")

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        has_begun = False
        async for message in messages:
            if message.HasField("delta") and not has_begun:
                has_begun = True
                await asyncio.sleep(DELAY_SECONDS)
            yield message
