"""A stream whose engine failed ends well."""

from collections.abc import AsyncIterator

import grpc.aio

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs.saboteur import Saboteur


class HidesAFault(Saboteur):
    """Sends Finished in place of a failure in the middle of a stream."""

    defect = "a stream whose engine failed ends with Finished and status OK"
    seen_by = ("E03", "T03")

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """See `Saboteur`."""
        is_started = False
        try:
            async for message in messages:
                is_started = is_started or message.HasField("started")
                yield message
        except grpc.aio.AioRpcError:
            if not is_started:
                raise
            end = pb.SequenceEnd(finish_reason=pb.FINISH_REASON_UNSPECIFIED_STOP)
            yield pb.GenerateResponse(finished=pb.Finished(sequences=[end]))
