"""A server whose engine runs in a process of its own, and dies."""

import asyncio
import os
import signal
import time

import psutil
import pytest

from bellhousing.errors import EngineUnavailable
from bellhousing.process import ProcessBackend
from bellhousing.testing import Served
from bellhousing.v1 import inference_pb2 as pb
from tests.core.conftest import Serve

BACKEND = "simulator-process"
SLOW = {"inter_token_seconds": 0.02, "end_probability": 0.0}


def engine_pid(served: Served) -> int:
    backend = served.model.backend
    assert isinstance(backend, ProcessBackend)
    assert backend.pid is not None
    return backend.pid


async def read_until_failure(served: Served) -> tuple[float, EngineUnavailable]:
    """Return when a stream failed, and how."""
    stream = served.client.generate("abc", max_tokens=4000)
    with pytest.raises(EngineUnavailable) as failed:
        _ = [delta async for delta in stream]
    return time.monotonic(), failed.value


async def test_the_output_is_the_same_as_without_a_process(serving: Serve) -> None:
    texts = []
    for backend in ("simulator", BACKEND):
        async with serving(backend) as served:
            whole = await served.client.complete("abc", max_tokens=50, seed=1, logprobs=2, n=2)
            texts.append([(o.text, list(o.token_ids), list(o.logprobs)) for o in whole.outputs])
    assert texts[0] == texts[1]


@pytest.mark.quiet
async def test_killing_the_engine_ends_eight_streams_within_a_second_and_the_next_request_works(serving: Serve) -> None:
    model = {"restart": {"first_seconds": 0.05}}
    async with serving(BACKEND, options=SLOW, model=model) as served:
        readers = [asyncio.create_task(read_until_failure(served)) for _ in range(8)]
        while served.model.admission.running < 8:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        killed = time.monotonic()
        os.kill(engine_pid(served), signal.SIGKILL)
        ends = await asyncio.gather(*readers)
        assert max(at for at, _ in ends) - killed < 1.0
        assert all(error.reason == "ENGINE_DIED" and error.retry_after for _, error in ends)
        assert all(error.metadata["partial_output"] == "true" for _, error in ends)
        assert not await served.client.is_serving()
        await served.client.wait_serving(timeout=20)
        assert (await served.client.complete("abc", max_tokens=3)).finished.usage.completion_tokens == 3


async def test_the_model_says_why_it_restarts_and_has_a_new_instance_afterwards(serving: Serve) -> None:
    async with serving(BACKEND, model={"restart": {"first_seconds": 0.3}}) as served:
        before = (await served.client.model()).instance_id
        os.kill(engine_pid(served), signal.SIGSEGV)
        while served.model.state == "serving":
            await asyncio.sleep(0.01)
        assert "SIGSEGV" in (await served.client.model()).state_detail
        with pytest.raises(EngineUnavailable) as refused:
            await served.client.complete("abc")
        assert refused.value.reason == "MODEL_RESTARTING"
        await served.client.wait_serving(timeout=20)
        assert (await served.client.model()).instance_id != before


async def test_an_engine_that_dies_again_and_again_is_given_up(serving: Serve) -> None:
    options = {"faults": [{"kind": "crash", "after_tokens": 0}], "end_probability": 0.0}
    async with serving(BACKEND, options=options, model={"restart": {"first_seconds": 0.05, "limit": 1}}) as served:
        for _ in range(2):
            await served.client.wait_serving(timeout=20)
            with pytest.raises(EngineUnavailable):
                await served.client.complete("abc")
        while served.model.state != "failed":
            await asyncio.sleep(0.01)
        with pytest.raises(EngineUnavailable) as refused:
            await served.client.complete("abc")
        assert refused.value.reason == "MODEL_FAILED"


async def test_a_stopped_server_leaves_no_process(serving: Serve) -> None:
    async with serving(BACKEND, options=SLOW) as served:
        pid = engine_pid(served)
        task = asyncio.create_task(served.client.complete("abc", max_tokens=4000))
        await asyncio.sleep(0.1)
    await asyncio.gather(task, return_exceptions=True)
    assert not psutil.pid_exists(pid)


async def test_cancelled_requests_leave_no_stream_in_the_engine(serving: Serve) -> None:
    async with serving(BACKEND, options=SLOW, model={"batching": {"max_sequences": 4}}) as served:
        backend = served.model.backend
        assert isinstance(backend, ProcessBackend)
        for _ in range(20):
            tasks = [asyncio.create_task(served.client.complete("abc", max_tokens=4000)) for _ in range(8)]
            await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(20):
            while served.model.in_flight or (await served.client.load()).kv_cache_usage:
                await asyncio.sleep(0.01)
        whole = await served.client.complete("abc", max_tokens=2)
        assert whole.finished.sequences[0].finish_reason == pb.FINISH_REASON_MAX_TOKENS
