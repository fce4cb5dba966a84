"""A cache answers what was asked before."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class AnswersFromMemory(Saboteur):
    """Sends the stream that a prompt had the first time, at once."""

    defect = "a prompt that was asked before is answered from a cache of whole answers"
    seen_by = ("TH5",)
    known: ClassVar[dict[str, list[pb.GenerateResponse]]] = {}

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.key = request.text

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        kept = self.known.get(self.key)
        if kept is not None:
            for message in kept:
                await asyncio.sleep(0)
                yield message
            async for _ in messages:  # the oracle's own answer: nobody waits for it
                pass
            return
        seen = []
        async for message in messages:
            seen.append(message)
            yield message
        self.known[self.key] = seen
