"""A stream stands still for a while."""

import asyncio
from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

STALL_SECONDS = 0.25
AFTER_TOKENS = 4


class StallsOnce(Saboteur):
    """Stops once in each stream, which its mean time for a token hardly shows in a long one."""

    defect = f"each stream stands still once, for {STALL_SECONDS:g} s"
    seen_by = ("LT4",)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        tokens, has_stalled = 0, False
        async for message in messages:
            tokens += message.delta.token_count
            if tokens > AFTER_TOKENS and message.HasField("delta") and not has_stalled:
                has_stalled = True
                await asyncio.sleep(STALL_SECONDS)
            yield message
