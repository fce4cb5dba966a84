"""After an overload everything is slower."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

MANY = 12
DELAY_SECONDS = 0.1


class DoesNotRecover(Saboteur):
    """Delays every stream once many were open at a time."""

    defect = f"once {MANY} streams were open at a time, every first token comes {DELAY_SECONDS:g} s later"
    seen_by = ("B04",)
    open: ClassVar[set[int]] = set()
    overloaded: ClassVar[set[str]] = set()

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.open.add(id(self))
        if len(self.open) >= MANY:
            self.overloaded.add("yes")
        try:
            if self.overloaded:
                await asyncio.sleep(DELAY_SECONDS)
            async for message in messages:
                yield message
        finally:
            self.open.discard(id(self))
