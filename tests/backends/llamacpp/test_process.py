"""The backend as core runs it: in a process of its own."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bellhousing.errors import BellhousingError, ConfigurationError, EngineUnavailable
from bellhousing.process import ProcessBackend
from bellhousing.settings import EngineSettings, ModelSpec
from bellhousing.testing import serving
from bellhousing_llamacpp import LlamaCppBackend, LlamaCppOptions
from tests.backends.llamacpp.conftest import output_of, request

Write = Callable[[Callable[[bytes], bytes]], Path]


@asynccontextmanager
async def process(path: Path, **settings: Any) -> AsyncIterator[ProcessBackend]:
    spec = ModelSpec(name="m", path=path, settings=EngineSettings.model_validate(settings))
    backend = ProcessBackend(LlamaCppBackend, spec, LlamaCppOptions(context_per_sequence=256))
    try:
        yield backend
    finally:
        await backend.stop()


async def test_it_generates_and_stops_without_leaving_anything(model_path: Path) -> None:
    async with process(model_path) as backend:
        await backend.start(lambda _: None)
        pid = backend.pid
        output = output_of([event async for event in backend.generate(request(max_tokens=2))])
        assert output.text == " Paris."
        assert pid is not None
    assert not psutil.pid_exists(pid)


@pytest.mark.quiet
async def test_killing_it_ends_eight_streams_flips_health_and_the_next_request_works(model_path: Path) -> None:
    model = {"model": str(model_path), "batching": {"max_sequences": 8}, "restart": {"first_seconds": 0.05}}
    async with serving("llamacpp", model=model, options={"context_per_sequence": 1024}) as served:
        first = [asyncio.Event() for _ in range(8)]

        async def ended(number: int) -> tuple[float, EngineUnavailable]:
            try:
                async for _ in served.client.generate("Once upon a time", max_tokens=1000, ignore_eos=True):
                    first[number].set()
            except EngineUnavailable as error:
                return time.monotonic(), error
            raise AssertionError("the stream ended as if nothing had happened")

        streams = [asyncio.create_task(ended(number)) for number in range(8)]
        await asyncio.gather(*(event.wait() for event in first))
        assert isinstance(served.model.backend, ProcessBackend)
        assert served.model.backend.pid
        killed = time.monotonic()
        os.kill(served.model.backend.pid, signal.SIGKILL)
        ends = await asyncio.gather(*streams)
        assert max(at for at, _ in ends) - killed < 1
        assert {error.reason for _, error in ends} == {"ENGINE_DIED"}
        assert not await served.client.is_serving()
        await served.client.wait_serving(timeout=30)
        whole = await served.client.complete("The capital of France is", max_tokens=2, temperature=0)
        assert whole.outputs[0].text == " Paris."


@pytest.fixture
def write(model_path: Path, tmp_path: Path) -> Write:
    """Return a function that writes a changed copy of the real model and returns its path."""

    def written(change: Callable[[bytes], bytes]) -> Path:
        file = tmp_path / "changed.gguf"
        file.write_bytes(change(model_path.read_bytes()))
        return file

    return written


async def test_a_file_that_is_no_model_is_refused_by_name(write: Write) -> None:
    async with process(write(lambda _: b"this is no model")) as backend:
        with pytest.raises(ConfigurationError, match=r"changed\.gguf.*expected the letters GGUF.*found b'this'"):
            await backend.start(lambda _: None)


async def test_half_a_model_is_refused_with_both_sizes(write: Write) -> None:
    async with process(write(lambda whole: whole[: len(whole) // 2])) as backend:
        with pytest.raises(ConfigurationError, match=r"changed\.gguf.*expected at least \d+ bytes, found \d+"):
            await backend.start(lambda _: None)


async def test_a_header_that_only_the_engine_understands_is_refused_in_its_words(write: Write) -> None:
    file = write(lambda whole: whole.replace(b"llama.block_count", b"llama.block_cOunt", 1))
    async with process(file) as backend:
        with pytest.raises(ConfigurationError, match=r"cannot load '.*changed\.gguf': .*block_count"):
            await backend.start(lambda _: None)


async def test_damage_among_the_weights_is_no_crash_of_ours(write: Write) -> None:
    noise = bytes([0xFF]) * 1_000_000
    async with process(write(lambda whole: whole[:-5_000_000] + noise + whole[-4_000_000:])) as backend:
        await backend.start(lambda _: None)
        try:
            assert output_of([event async for event in backend.generate(request(max_tokens=3))]).count <= 3
        except BellhousingError as error:
            assert error.message  # noqa: PT017 - the damage decides whether there is an error
