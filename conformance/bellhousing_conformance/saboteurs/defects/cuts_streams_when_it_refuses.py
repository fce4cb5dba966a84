"""A refusal ends the streams that run."""

import time
from collections.abc import AsyncIterator
from typing import ClassVar

import grpc

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur

STATES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION)


class CutsStreamsWhenItRefuses(Saboteur):
    """Ends running streams without a failure once a call was refused for the state of the server."""

    defect = "a drain, or an unload that is refused, cuts the streams that run"
    seen_by = ("L02", "A06")
    refusals: ClassVar[list[float]] = []

    async def refused(self, code: grpc.StatusCode) -> grpc.StatusCode:
        """See `Saboteur`."""
        if code in STATES:
            self.refusals.append(time.monotonic())
        return code

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        began = time.monotonic()
        async for message in messages:
            if not any(refusal > began for refusal in self.refusals):
                yield message
