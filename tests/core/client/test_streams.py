"""Streams as a caller sees them: what they tell, and that leaving one ends the work behind it."""

import asyncio
import gc
import threading

import pytest

from bellhousing import AsyncClient, Client, RetryPolicy
from bellhousing.errors import ConfigurationError, DeadlineExceeded, EngineUnavailable
from bellhousing.testing import Served
from tests.core.client.callers import ALL, Caller
from tests.core.conftest import Serve

ENDLESS = {"inter_token_seconds": 0.01, "end_probability": 0.0}
NEVER = RetryPolicy(attempts=1)


async def until_idle(served: Served) -> None:
    """Return once no request is left."""
    async with asyncio.timeout(20):
        while served.model.in_flight or served.model.admission.running:
            await asyncio.sleep(0.005)


async def test_a_stream_tells_its_text_times_and_ending(serving: Serve) -> None:
    async with serving(options=ENDLESS) as served:
        stream = served.client.generate("the", max_tokens=8, seed=1)
        pieces = [delta.text async for delta in stream]
    assert stream.started is not None
    assert stream.finished is not None
    assert stream.text == "".join(pieces)
    assert stream.finished.usage.completion_tokens == 8
    assert stream.ttft is not None
    assert 0 < stream.ttft < stream.elapsed


async def test_the_sync_client_tells_the_same(serving: Serve) -> None:
    def read(address: str) -> tuple[str, int, bool]:
        with Client(address) as client, client.generate("the", max_tokens=8, seed=1) as stream:
            text = "".join(delta.text for delta in stream)
            assert stream.finished is not None
            assert stream.ttft is not None
            assert stream.text == text
            return text, stream.finished.usage.completion_tokens, stream.ttft < stream.elapsed

    async with serving(options=ENDLESS) as served:
        expected = [delta.text async for delta in served.client.generate("the", max_tokens=8, seed=1)]
        assert await asyncio.to_thread(read, served.address) == ("".join(expected), 8, True)


async def test_leaving_a_sync_loop_ends_the_generation(serving: Serve) -> None:
    def leave(client: Client) -> None:
        for _ in client.generate("the"):
            break
        gc.collect()

    async with serving(options=ENDLESS) as served:
        with Client(served.address) as client:
            await asyncio.to_thread(leave, client)
            await until_idle(served)


async def test_a_forgotten_stream_ends_its_generation(serving: Serve) -> None:
    async with serving(options=ENDLESS) as served:
        stream = served.client.generate("the")
        await anext(aiter(stream))
        assert len(served.model.in_flight) == 1
        del stream
        gc.collect()
        await until_idle(served)


async def test_cancelling_the_task_that_reads_ends_the_generation(serving: Serve) -> None:
    async def read(client: AsyncClient) -> None:
        async for _ in client.generate("the"):
            pass

    async with serving(options=ENDLESS) as served:
        task = asyncio.create_task(read(served.client))
        while not served.model.in_flight:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_idle(served)


async def test_another_thread_can_close_a_stream(serving: Serve) -> None:
    def read(client: Client, first: threading.Event) -> None:
        with client.generate("the") as stream:
            for _ in stream:
                first.set()

    async with serving(options=ENDLESS) as served:
        first = threading.Event()
        client = Client(served.address)
        reading = asyncio.create_task(asyncio.to_thread(read, client, first))
        await asyncio.to_thread(first.wait, 5)
        client.close()
        with pytest.raises(Exception, match=r"(?i)cancel|clos"):
            await reading
        await until_idle(served)


@pytest.mark.parametrize("call", ALL)
async def test_a_deadline_is_kept(serving: Serve, call: Caller) -> None:
    async with serving(options={"first_token_seconds": 3600.0}) as served:
        with pytest.raises(DeadlineExceeded):
            await call(served.address, timeout=0.2)
        await until_idle(served)


@pytest.mark.parametrize("call", ALL)
async def test_a_server_that_is_not_there_is_unavailable(call: Caller) -> None:
    with pytest.raises(EngineUnavailable):
        await call("127.0.0.1:1", retry=NEVER)


def test_exactly_one_kind_of_prompt_is_taken() -> None:
    with Client("127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="exactly one of prompt and messages"):
            client.generate()
        with pytest.raises(TypeError, match="exactly one of prompt and messages"):
            client.generate("a", messages=[{"role": "user", "content": "b"}])


def test_a_misspelt_argument_is_refused_by_name() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(TypeError, match="temprature"):
        client.generate("a", temprature=0.5)  # type: ignore[call-arg]


def test_a_token_is_not_sent_in_the_clear_beyond_loopback() -> None:
    with pytest.raises(ConfigurationError, match="plain text"):
        Client("192.0.2.1:50051", token="secret")
