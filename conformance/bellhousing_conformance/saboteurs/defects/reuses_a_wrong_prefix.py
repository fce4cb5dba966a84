"""What comes from the prefix cache is not what was computed."""

from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

CHANGED = 3
LETTERS = 26


class ReusesAWrongPrefix(Saboteur):
    """Changes a token of a stream whose prompt was seen before."""

    defect = "after a hit in the prefix cache one token is another"
    seen_by = ("N03",)
    prompts: ClassVar[set[str]] = set()
    is_known = False

    def asked(self, request: pb.GenerateRequest) -> None:
        """See `Saboteur`."""
        self.is_known = request.text in self.prompts
        self.prompts.add(request.text)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        count = 0
        async for message in messages:
            count += message.HasField("delta")
            if self.is_known and count == CHANGED and message.delta.token_ids:
                message.delta.token_ids[0] = (message.delta.token_ids[0] + 1) % LETTERS
            yield message
