"""Comparisons of real servers: what is kept when they break off, and what going on with them measures."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.launch import ServerProcess
from bellhousing_conformance.compare.blocks import BLOCKS, read_blocks
from bellhousing_conformance.compare.calibration import CALIBRATION_FILE, Calibration
from bellhousing_conformance.compare.comparison import comparison_of
from bellhousing_conformance.compare.execution import Stopped, measure
from bellhousing_conformance.compare.settings import Settings, is_begun, read_settings, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OPTIONS = {"first_token_seconds": 0.1, "inter_token_seconds": 0.01}


class Watching:
    """Does something at a moment of a comparison."""

    def __init__(self, at_calibrated: Callable[[], None] = lambda: None, at_second: Callable[[], None] = lambda: None):
        self.at_calibrated = at_calibrated
        self.at_second = at_second
        self.blocks = 0
        self.done = 0

    def told(self, text: str) -> None:
        """See `execution.Display`."""

    def calibrated(self, calibration: Calibration, done: int) -> None:
        """See `execution.Display`."""
        self.done = done
        self.at_calibrated()

    def block(self, pair: int, place: int) -> None:
        """See `execution.Display`."""
        self.blocks += 1
        if self.blocks == 2:
            self.at_second()

    def pair(self, done: int, rejections: list[str]) -> None:
        """See `execution.Display`."""


@contextlib.asynccontextmanager
async def server(**options: object) -> AsyncIterator[ServerProcess]:
    model = {"backend": "simulator", "options": {**OPTIONS, **options}}
    async with ServerProcess([model]) as process:
        await process.wait_serving(60)
        yield process


def asked(a: str, b: str, **told: object) -> Settings:
    keys = {"pairs": 1, "block_seconds": 3, "seed": 2, "rate": 8.0, "output_tokens": {"low": 4, "high": 4}}
    return settings_of({"a": {"address": a}, "b": {"address": b}, **keys, **told})


async def test_an_endpoint_that_dies_ends_it_clearly_and_the_rest_is_measured_later(tmp_path: Path) -> None:
    async with server() as one:
        settings = asked(one.address, one.address)
        killing: list[asyncio.Task[None]] = []
        watching = Watching(at_second=lambda: killing.append(asyncio.ensure_future(one.kill())))
        with pytest.raises(Stopped, match=r"does not answer any more|expected a server within"):
            await measure(settings, tmp_path, watching)
        assert len(read_blocks(tmp_path)) == 1
        assert not list((tmp_path / BLOCKS).glob("*.part"))
        await asyncio.gather(*killing)
        await one.start()
        await one.wait_serving(60)
        before = (tmp_path / CALIBRATION_FILE).read_bytes()
        await measure(settings, tmp_path, Watching())
        assert (tmp_path / CALIBRATION_FILE).read_bytes() == before
    found = comparison_of(tmp_path)
    assert found.broken_off == 1
    assert found.pairs + found.rejected_pairs >= 1


async def test_a_cancelled_comparison_keeps_whole_blocks_alone(tmp_path: Path) -> None:
    async with server() as one:
        settings = asked(one.address, one.address)
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def cancel_soon() -> None:
            loop.call_later(1.0, task.cancel)

        watching = Watching(at_second=cancel_soon)
        with pytest.raises(asyncio.CancelledError):
            await measure(settings, tmp_path, watching)
        task.uncancel()
    assert [block.record.place for block in read_blocks(tmp_path)] == [0]
    assert not list((tmp_path / BLOCKS).glob("*.part"))


async def test_a_disk_that_takes_no_more_ends_it_with_what_was_whole(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with server() as one:
        settings = asked(one.address, one.address)
        try:
            with pytest.raises(Stopped, match="cannot be written"):
                await measure(
                    settings, tmp_path, Watching(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard)))
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_blocks(tmp_path) == []
    assert not list((tmp_path / BLOCKS).glob("*.part"))


async def test_another_engine_behind_the_address_is_refused_by_what_differs(tmp_path: Path) -> None:
    async with server() as one, server(weights_seed=2) as other:
        settings = asked(one.address, one.address)
        (tmp_path / BLOCKS).touch()  # so that it ends before the first block
        with pytest.raises(Stopped):
            await measure(settings, tmp_path, Watching())
        with pytest.raises(ConfigurationError, match="A is another one than when the comparison began: model_digest"):
            await measure(asked(other.address, one.address), tmp_path, Watching())


async def test_nobody_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    settings = asked("127.0.0.1:1", "127.0.0.1:1")
    with pytest.raises(EngineUnavailable, match=r"no server can be reached at 127\.0\.0\.1:1"):
        await measure(settings, tmp_path, Watching())
    assert not (tmp_path / CALIBRATION_FILE).exists()
    assert not is_begun(tmp_path)


async def test_what_could_not_begin_is_no_comparison_and_another_one_begins_in_its_folder(tmp_path: Path) -> None:
    async with server() as one, server(weights_seed=2) as other:
        too_few = asked(one.address, one.address, rate=None, share=0.01)
        with pytest.raises(ConfigurationError, match="expected at least 11 requests in the open loop"):
            await measure(too_few, tmp_path, Watching())
        assert not is_begun(tmp_path)
        stale = tmp_path / "calibration" / "a-9"
        stale.mkdir()
        (tmp_path / BLOCKS).touch()  # so that it ends before the first block
        corrected = asked(other.address, other.address)
        with pytest.raises(Stopped):
            await measure(corrected, tmp_path, Watching())
    assert read_settings(tmp_path) == corrected
    assert not stale.exists()
