"""Tokens of all streams are made one after the other."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

TOKEN_SECONDS = 0.004


class DecodesOneTokenAtATime(Saboteur):
    """Batches nothing: each delta of any stream waits for those of the others."""

    defect = f"tokens of all streams are made one after the other, each in {TOKEN_SECONDS * 1000:g} ms"
    seen_by = ("TH1",)
    free: ClassVar[asyncio.Lock] = asyncio.Lock()

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        async for message in messages:
            async with self.free:
                await asyncio.sleep(TOKEN_SECONDS * message.delta.token_count)
            yield message
