"""A server that does nothing: what a sender measures on it is what the sender and gRPC themselves add.

`python -m bellhousing_conformance.load.null` serves Generate on a free loopback port, which its first line tells. Every
request is answered at once with as many messages of one token as it asks for.
"""

import asyncio
import contextlib
import math
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.clients.contract import METHOD
from bellhousing_conformance.load.gates import FLOOR_METRICS
from bellhousing_conformance.load.job import Job
from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.timing import quantile

FLOOR_SECONDS = 5.0
"""The floor is that of the first seconds of the schedule: the rate is what matters, not how long."""

LEAST_REQUESTS = 20


class _NullService(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if details.method != METHOD:
            return None
        return grpc.unary_stream_rpc_method_handler(_generate)


async def _generate(asked: bytes, _context: Any) -> AsyncIterator[bytes]:
    wanted = pb.GenerateRequest.FromString(asked).sampling.max_tokens
    yield pb.GenerateResponse(started=pb.Started()).SerializeToString()
    delta = pb.GenerateResponse(delta=pb.Delta(text="a", token_count=1)).SerializeToString()
    for _ in range(wanted):
        yield delta
    usage = pb.Usage(prompt_tokens=1, completion_tokens=wanted)
    yield pb.GenerateResponse(finished=pb.Finished(usage=usage)).SerializeToString()


@contextlib.asynccontextmanager
async def null_server() -> AsyncIterator[str]:
    """Serve from a process of its own for the body; yield the address."""
    command = [sys.executable, "-m", "bellhousing_conformance.load.null"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout
        yield f"127.0.0.1:{(await server.stdout.readline()).decode().strip()}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.terminate()
        await server.wait()


async def floor_of(job: Job) -> dict[str, float]:
    """Return the medians, in seconds by metric, that the beginning of an open-loop job gives on a null server."""
    from bellhousing_conformance.load.process import run_load

    async with null_server() as address:
        with tempfile.TemporaryDirectory(prefix="bellhousing-floor-") as folder:
            rows, _ = await run_load(_beginning(job, address), Path(folder))
    found = {name: [v for v in METRICS[name].values(rows) if math.isfinite(v)] for name in FLOOR_METRICS}
    return {name: quantile(values, 0.5) for name, values in found.items() if values}


def _beginning(job: Job, address: str) -> Job:
    first = sorted((each for each in job.plan if each.turn == 0), key=lambda each: each.intended_ns or 0)
    start = first[0].intended_ns or 0
    early = [each for each in first if (each.intended_ns or 0) < start + FLOOR_SECONDS * 1e9]
    kept = max(early, first[:LEAST_REQUESTS], key=len)
    endpoint = Endpoint("contract", address, deadline=job.endpoint.deadline)
    moved = [
        replace(each, index=index, session=None, intended_ns=(each.intended_ns or 0) - start, adapter="")
        for index, each in enumerate(kept)
    ]
    return replace(job, endpoint=endpoint, plan=tuple(moved))


async def _serve() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_NullService(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
