"""A real gRPC server that answers Generate and Complete as a script says, to bring clients into every situation."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from bellhousing.errors import BellhousingError
from bellhousing.services.calls import Context, abort
from bellhousing.v1 import inference_pb2 as pb
from bellhousing.v1 import inference_pb2_grpc

STARTED = pb.GenerateResponse(started=pb.Started(request_id="scripted"))
FINISHED = pb.GenerateResponse(finished=pb.Finished())


def delta(text: str) -> pb.GenerateResponse:
    return pb.GenerateResponse(delta=pb.Delta(text=text, token_count=1))


@dataclass(frozen=True, slots=True)
class Answer:
    """The messages of one call, and the error that ends it."""

    messages: Sequence[pb.GenerateResponse] = (STARTED, delta("hello"), FINISHED)
    error: BellhousingError | None = None

    @property
    def is_partial(self) -> bool:
        return any(message.HasField("delta") for message in self.messages)


@dataclass(slots=True)
class Scripted(inference_pb2_grpc.InferenceServicer):
    """Answers the calls in order; `calls` are the times at which they came, in seconds."""

    answers: list[Answer]
    address: str = ""
    calls: list[float] = field(default_factory=list)

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> None:  # noqa: N802
        answer = self._next()
        for message in answer.messages:
            await context.write(message)
        if answer.error:
            await abort(context, answer.error, partial_output=answer.is_partial)

    async def Complete(self, request: pb.GenerateRequest, context: Context) -> pb.CompleteResponse:  # noqa: N802
        answer = self._next()
        if answer.error:
            await abort(context, answer.error)
        return pb.CompleteResponse(outputs=[message.delta for message in answer.messages if message.HasField("delta")])

    def _next(self) -> Answer:
        self.calls.append(time.monotonic())
        return self.answers.pop(0)


@asynccontextmanager
async def scripted(*answers: Answer) -> AsyncIterator[Scripted]:
    """Run the server on a free loopback port for the body."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    service = Scripted(list(answers))
    inference_pb2_grpc.add_InferenceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)
