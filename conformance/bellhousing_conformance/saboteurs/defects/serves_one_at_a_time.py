"""Requests are served one after the other."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class ServesOneAtATime(Saboteur):
    """Begins a stream when no other runs."""

    defect = "requests run one after the other, whatever max_running says"
    seen_by = ("N04",)
    free: ClassVar[asyncio.Lock] = asyncio.Lock()

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        async with self.free:
            async for message in messages:
                yield message
