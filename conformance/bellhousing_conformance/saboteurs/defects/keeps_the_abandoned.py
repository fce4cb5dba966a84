"""A gauge sticks."""

from collections.abc import AsyncIterator
from typing import ClassVar

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.metrics import changed
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import HookName


class KeepsTheAbandoned(Saboteur):
    """Counts a stream whose client has left as one that runs, for ever."""

    defect = "in the metrics a request runs for ever once its client has left"
    seen_by = ("M04",)
    abandoned: ClassVar[int] = 0

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        is_over = False
        try:
            async for message in messages:
                is_over = is_over or message.HasField("finished")
                yield message
        finally:
            type(self).abandoned += not is_over

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:
        """See `Saboteur`."""
        return changed(name, answer, "bellhousing_model_requests_running", lambda value: value + cls.abandoned)
