"""In a batch everyone gets the first one's adapter."""

from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class MixesUpAdapters(Saboteur):
    """Gives a request the adapter of the one that runs already."""

    defect = "a request gets the adapter of another that runs beside it"
    seen_by = ("A03",)
    running: ClassVar[list[str]] = []
    adapter = ""

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.adapter = request.adapter
        if self.running:
            request.adapter = self.running[0]

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        self.running.append(self.adapter)
        try:
            async for message in messages:
                yield message
        finally:
            self.running.remove(self.adapter)
