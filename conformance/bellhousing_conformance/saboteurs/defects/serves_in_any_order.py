"""Requests that wait start in any order."""

import asyncio
import random
from collections.abc import AsyncIterator

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

LONGEST_SECONDS = 1.0


class ServesInAnyOrder(Saboteur):
    """Starts each stream after a time of its own."""

    defect = "requests that wait start in any order"
    seen_by = ("B02",)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        async for message in messages:
            if message.HasField("started"):
                await asyncio.sleep(random.uniform(0, LONGEST_SECONDS))
            yield message
