"""The end token is delivered."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class DeliversTheEndToken(Saboteur):
    """Sends the end token as a delta of its own and counts it."""

    defect = "the end token is delivered and counted"
    seen_by = ("ST6",)
    ends: ClassVar[list[int]] = []

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "ListModels":
            self.ends[:] = answer.models[0].eos_token_ids

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        async for message in messages:
            for end in message.finished.sequences:
                if end.finish_reason == pb.FINISH_REASON_EOS and self.ends:
                    yield pb.GenerateResponse(delta=pb.Delta(index=end.index, token_ids=self.ends[:1], token_count=1))
                    end.completion_tokens += 1
                    message.finished.usage.completion_tokens += 1
            yield message
