"""The engine's worker is killed. Last, since it is the shared engine's: what follows would wait for its restart."""

import asyncio
import time

import psutil
import pytest

from bellhousing.errors import EngineUnavailable
from bellhousing.process import ProcessBackend
from bellhousing.testing import Served
from tests.backends.vllm.conftest import FRANCE

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def test_a_killed_worker_ends_streams_with_a_status_and_the_model_serves_again(served: Served) -> None:
    backend = served.model.backend
    assert isinstance(backend, ProcessBackend)
    engine = psutil.Process(backend.pid)
    workers = [child for child in engine.children(recursive=True) if "VLLM::" in " ".join(child.cmdline())]
    assert workers, "expected a worker of vLLM"
    killed_at = 0.0

    async def stream(number: int) -> float:
        with pytest.raises(EngineUnavailable) as caught:  # noqa: PT012 - a stream raises while it is read
            async for _ in served.client.generate(f"{FRANCE} {number}", max_tokens=900, ignore_eos=True):
                seen[number] = True
        assert caught.value.reason == "ENGINE_DIED"
        return time.monotonic()

    seen: dict[int, bool] = {}
    streams = [asyncio.create_task(stream(number)) for number in range(4)]
    async with asyncio.timeout(60):
        while len(seen) < 4:
            await asyncio.sleep(0.05)
    killed_at = time.monotonic()
    workers[-1].kill()
    ended_at = await asyncio.gather(*streams)
    assert max(ended_at) - killed_at < 15
    async with asyncio.timeout(5):
        while await served.client.is_serving():
            await asyncio.sleep(0.02)
    async with asyncio.timeout(200):
        await served.client.wait_serving(timeout=200)
    answer = await served.client.complete(FRANCE, max_tokens=2, temperature=0)
    assert answer.outputs[0].text == " Paris."
    assert not [process for process in workers if process.is_running()], "nothing of the old engine is left"
