"""The contract over gRPC, as raw bytes: messages are parsed when the run is over."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bellhousing.client.connection import OPTIONS, call_metadata
from bellhousing.errors import EngineUnavailable
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import tls_of
from bellhousing_conformance.load.clients.client import TOKEN_VARIABLE, Client, Endpoint, Reading, Received
from bellhousing_conformance.load.record import OK
from bellhousing_conformance.load.workload import Planned

METHOD = "/bellhousing.v1.Inference/Generate"
CONNECT_SECONDS = 5.0
MOST_REASON = 300


class ContractClient(Client):
    """A channel of its own to a server of the contract."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        ca, certificate, key = (Path(p) if p else None for p in (endpoint.ca, endpoint.certificate, endpoint.key))
        self._tls = tls_of(ca, certificate, key)
        self._metadata = call_metadata(
            endpoint.address,
            token=os.environ.get(TOKEN_VARIABLE, ""),
            tenant="",
            is_encrypted=self._tls is not None,
            insecure=endpoint.insecure,
        )

    async def open(self) -> None:
        """See `Client`."""
        where, options = self._endpoint.address, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        self._channel = (
            grpc.aio.secure_channel(where, self._tls.credentials(), options=options)
            if self._tls
            else grpc.aio.insecure_channel(where, options=options)
        )
        self._method: Any = self._channel.unary_stream(METHOD)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._channel.channel_ready()
        except TimeoutError as error:
            raise EngineUnavailable(f"{where}: expected a server within {CONNECT_SECONDS:g} s, found none") from error

    async def close(self) -> None:
        """See `Client`."""
        await self._channel.close()

    def prepared(self, request: Planned, prompt: str) -> bytes:
        """See `Client`."""
        message = pb.GenerateRequest(model=self._endpoint.model, text=prompt, adapter=request.adapter)
        message.sampling.max_tokens = request.max_tokens
        message.sampling.seed = request.seed
        if not self._endpoint.natural:
            message.sampling.ignore_eos = True
        return message.SerializeToString()

    async def send(self, prepared: bytes, received: Received) -> None:
        """See `Client`."""
        stamps, chunks = received.stamps, received.chunks
        received.sent_ns = time.perf_counter_ns()
        call = self._method(prepared, metadata=self._metadata, timeout=self._endpoint.deadline)
        try:
            while (chunk := await call.read()) is not grpc.aio.EOF:
                stamps.append(time.perf_counter_ns())
                chunks.append(chunk)
            received.code = OK
        except grpc.aio.AioRpcError as error:
            received.failed(error.code().name, (error.details() or "")[:MOST_REASON])
        finally:
            received.end_ns = time.perf_counter_ns()
            call.cancel()

    def read(self, received: Received) -> Reading:
        """See `Client`."""
        reading = Reading()
        texts, has_finished = [], False
        for stamp, chunk in zip(received.stamps, received.chunks, strict=True):
            try:
                message = pb.GenerateResponse.FromString(chunk)
            except DecodeError:
                reading.fault = "bytes that are no message of the contract"
                break
            texts.append(message.delta.text)
            if message.delta.token_count:
                reading.arrivals.append((stamp, message.delta.token_count))
            if message.HasField("finished"):
                has_finished = True
                _finish(reading, message.finished)
        if not (has_finished or reading.fault):
            reading.fault = "expected Finished as the last message, found none"
        reading.text = "".join(texts)
        return reading


def _finish(reading: Reading, finished: pb.Finished) -> None:
    reading.prompt_tokens = finished.usage.prompt_tokens
    reading.usage_tokens = finished.usage.completion_tokens
    if finished.timeline.HasField("dispatched"):
        reading.queue_ns = finished.timeline.dispatched.ToNanoseconds()
