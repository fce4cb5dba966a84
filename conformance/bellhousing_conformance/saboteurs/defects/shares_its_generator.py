"""Requests that run together draw from one generator."""

from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class SharesItsGenerator(Saboteur):
    """Draws of a seeded request depend on how many others run."""

    defect = "neighbours take numbers from the generator of a seeded request"
    seen_by = ("D05",)
    running: ClassVar[list[int]] = [0]

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        if request.sampling.HasField("seed"):
            request.sampling.seed ^= self.running[0]

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.running[0] += 1
        try:
            async for message in messages:
                yield message
        finally:
            self.running[0] -= 1
