"""A target becomes slower the longer it runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

STEP_SECONDS, MOST_SECONDS = 0.002, 0.5


class Tires(Saboteur):
    """Waits before each stream, a little longer each time."""

    defect = f"each stream begins {STEP_SECONDS * 1000:g} ms later than the one before"
    seen_by = ("K02",)
    waited: ClassVar[float] = 0.0

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        type(self).waited = min(MOST_SECONDS, self.waited + STEP_SECONDS)
        await asyncio.sleep(self.waited)
        async for message in messages:
            yield message
