import asyncio
from contextlib import aclosing

import psutil
import pytest

from bellhousing.backend import AdapterFiles, EmbeddingResult, TokenPiece
from bellhousing.errors import Unsupported
from bellhousing.events import Delta, Progress
from bellhousing.process import ProcessBackend
from bellhousing.requests import Chat, ChatMessage
from bellhousing.settings import ModelSpec
from tests.core.process.conftest import Start, under_both_loops
from tests.core.process.engines import EchoBackend, EchoOptions
from tests.core.process.observation import children, events, request, settle

SPEC = ModelSpec(name="echo-1")


@under_both_loops
async def test_start_tells_progress_and_returns_what_the_backend_tells() -> None:
    steps: list[Progress] = []
    backend, inline = ProcessBackend(EchoBackend, SPEC, EchoOptions()), EchoBackend(SPEC, EchoOptions())
    try:
        assert await backend.start(steps.append) == await inline.start(lambda _: None)
        assert steps == [Progress("loading", 1, 2, "layers"), Progress("loading", 2, 2, "layers")]
    finally:
        await backend.stop()


@under_both_loops
async def test_a_generation_yields_what_the_backend_yields(started: Start) -> None:
    backend, inline = await started(), EchoBackend(SPEC, EchoOptions())
    await inline.start(lambda _: None)
    assert await events(backend, "to be or not") == await events(inline, "to be or not")
    texts = [event.text for event in await events(backend, "@burst 5000") if isinstance(event, Delta)]
    assert texts == [str(number) for number in range(5000)]


async def test_a_message_may_be_far_larger_than_the_buffers_of_the_socket(started: Start) -> None:
    backend = await started()
    assert await events(backend, "@size 4000000") == await events(backend, "@size 4000000")
    assert len(await events(backend, "word " * 100_000)) == 100_002


async def test_every_other_method_is_forwarded(started: Start) -> None:
    backend = await started()
    chat = Chat((ChatMessage("user", "hello"),), template_arguments={"tools": [1, None]})
    assert await backend.tokenize("a b", add_special=False) == [TokenPiece(1, b"a"), TokenPiece(2, b"b")]
    assert await backend.tokenize(chat, add_special=True) == [TokenPiece(0, b"<s>"), TokenPiece(1, b"hello")]
    assert await backend.detokenize((65, 66)) == b"AB"
    assert await backend.embed((1, 2, 3), truncate=True) == EmbeddingResult((0.5, -1.0), 3, truncated=True)
    await backend.load_adapter(AdapterFiles("poet", "/adapters/poet", "sha256:0"))
    await backend.unload_adapter("poet")
    assert (await backend.load()).waiting == 0
    with pytest.raises(Unsupported):
        await backend.sleep(1)


async def test_a_slow_reader_holds_up_no_one(started: Start) -> None:
    backend = await started()
    async with aclosing(backend.generate(request("@burst 5000"))) as slow:
        await anext(slow)
        assert len(await events(backend, "@burst 5000")) == 5002
        assert len([event async for event in slow]) == 5001


@under_both_loops
async def test_closing_a_generation_closes_the_backends(started: Start) -> None:
    backend = await started()
    streams = [backend.generate(request(prompt)) for prompt in ("@forever", "@silence", "@forever")]
    for stream in streams:
        await anext(stream)
    assert (await backend.load()).waiting == 3
    for stream in streams:
        await stream.aclose()
    assert (await backend.load()).waiting == 0


@under_both_loops
async def test_two_hundred_cancelled_generations_leave_nothing_behind(started: Start) -> None:
    backend = await started()
    ours, theirs = psutil.Process(), psutil.Process(backend.pid)
    await events(backend, "warm up")
    before = (ours.num_fds(), theirs.num_fds(), ours.num_threads(), theirs.num_threads(), len(asyncio.all_tasks()))
    for number in range(200):
        async with aclosing(backend.generate(request("@forever" if number % 2 else "@silence"))) as stream:
            for _ in range(number % 4):
                await anext(stream)
    assert (await backend.load()).waiting == 0
    assert backend._exchanges == {}
    after = (ours.num_fds(), theirs.num_fds(), ours.num_threads(), theirs.num_threads(), len(asyncio.all_tasks()))
    assert after == before


@under_both_loops
async def test_starting_and_stopping_leaves_no_descriptor_task_or_process() -> None:
    async def once() -> None:
        backend = ProcessBackend(EchoBackend, SPEC, EchoOptions())
        await backend.start(lambda _: None)
        await events(backend, "hello")
        await backend.stop()
        await settle()

    await once()  # the loop opens what it keeps
    before = (psutil.Process().num_fds(), asyncio.all_tasks())
    await once()
    assert (psutil.Process().num_fds(), asyncio.all_tasks()) == before
    assert children() == []
