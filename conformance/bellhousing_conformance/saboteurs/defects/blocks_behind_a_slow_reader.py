"""A reader that pauses slows the others down."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

PATIENCE_SECONDS = 0.1
DELAY_SECONDS = 0.008


class BlocksBehindASlowReader(Saboteur):
    """Delays each message while the reader of another stream takes none."""

    defect = "while one reader pauses, the streams of others are slower"
    seen_by = ("B03",)
    stuck: ClassVar[dict[int, float]] = {}

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        try:
            async for message in messages:
                if any(time.monotonic() - since > PATIENCE_SECONDS for since in self.stuck.values()):
                    await asyncio.sleep(DELAY_SECONDS)
                self.stuck[id(self)] = time.monotonic()
                yield message
                del self.stuck[id(self)]
        finally:
            self.stuck.pop(id(self), None)
