"""Measures a comparison: block after block, each whole on the disk before the next begins."""

import shutil
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from bellhousing.errors import BellhousingError, ConfigurationError, EngineUnavailable
from bellhousing_conformance.compare import machine
from bellhousing_conformance.compare.blocks import (
    ARMS,
    BLOCKS,
    CLOSED,
    OPEN,
    PART,
    Arm,
    Block,
    BlockRecord,
    by_attempt,
    order_of,
    read_blocks,
    seed_of,
    write_record,
)
from bellhousing_conformance.compare.calibration import Calibration, calibrated, forget_calibration
from bellhousing_conformance.compare.loads import closed_load, open_load
from bellhousing_conformance.compare.settings import Settings, is_begun, write_settings
from bellhousing_conformance.compare.sides import Side, reached
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import whole_file
from bellhousing_conformance.report.model import Subject

SIDES_FILE = "sides.json"
MOST_REJECTED = 0.2
"""Share of the pairs that were measured: above it a comparison decides nothing, and is not gone on with."""

Sides = Mapping[Literal["a", "b"], Side]


class Stopped(Exception):
    """The comparison cannot go on now; what was measured is kept, and `--resume` goes on."""


class Display(Protocol):
    """Hears how a comparison goes."""

    def told(self, text: str) -> None:
        """A sentence about what happens now."""

    def calibrated(self, calibration: Calibration, done: int) -> None:
        """Blocks begin; so many pairs are done already."""

    def block(self, pair: int, place: int) -> None:
        """A block begins: `place` of its pair, both from 0."""

    def pair(self, done: int, rejections: list[str]) -> None:
        """A pair has ended; with rejections it is measured again."""


async def measure(settings: Settings, folder: Path, display: Display) -> None:
    """Measure what a folder lacks of its comparison, or begin one there once both sides are reached and calibrated.

    Raises what `sides.reached` raises before the first block, later `Stopped`; a cancellation leaves every whole block.
    """
    async with AsyncExitStack() as stack:
        sides: dict[Literal["a", "b"], Side] = {}
        for arm, told in (("a", settings.a), ("b", settings.b)):
            if told.start:
                display.told(f"{arm.upper()}: starting {told.start}")
            key: Literal["a", "b"] = "a" if arm == "a" else "b"
            sides[key] = await stack.enter_async_context(reached(told, arm))
        try:
            calibration = await _begun(settings, sides, folder, display)
            await _Course(settings, sides, folder, calibration, display).run()
        except ConfigurationError as error:
            if not (folder / BLOCKS).is_dir():
                raise
            raise Stopped(error.message) from error
        except BellhousingError as error:
            raise Stopped(error.message) from error
        except OSError as error:
            raise Stopped(f"{str(error.filename or folder)!r} cannot be written: {error.strerror}") from error


async def _begun(settings: Settings, sides: Sides, folder: Path, display: Display) -> Calibration:
    """Return the calibration of a comparison that goes on, or measure it and keep with it what begins one.

    What an attempt left that did not come so far is of other settings, perhaps, and is removed.
    """
    if is_begun(folder):
        keep_subjects(sides, folder)
        return await calibrated(settings, sides, folder, display.told)
    (folder / SIDES_FILE).unlink(missing_ok=True)
    forget_calibration(folder)
    calibration = await calibrated(settings, sides, folder, display.told)
    keep_subjects(sides, folder)
    write_settings(settings, folder)
    return calibration


def keep_subjects(sides: Sides, folder: Path) -> None:
    """Write what the sides are. Raises `ConfigurationError` naming what is not as it was when the comparison began."""
    file, subjects = folder / SIDES_FILE, {arm: side.subject for arm, side in sides.items()}
    if not file.is_file():
        with whole_file(file) as opened:
            opened.write(msgspec.json.encode({arm: each.model_dump() for arm, each in subjects.items()}) + b"\n")
        return
    for arm, before in read_subjects(folder).items():
        now = subjects[arm].model_dump()
        for name, value in before.model_dump().items():
            if name not in {"address", "instance_id"} and now[name] != value:
                raise ConfigurationError(
                    f"{arm.upper()} is another one than when the comparison began: "
                    f"{name}: expected {value!r}, found {now[name]!r}"
                )


def read_subjects(folder: Path) -> dict[Literal["a", "b"], Subject]:
    """Return what the sides of a comparison told of themselves. Raises `ConfigurationError`."""
    file = folder / SIDES_FILE
    try:
        found = msgspec.json.decode(file.read_bytes())
        return {"a": Subject.model_validate(found["a"]), "b": Subject.model_validate(found["b"])}
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"comparison {str(file)!r}: expected what both sides are, found {error}") from error


class _Course:
    """The pairs of a comparison, in order; what is there already is not measured again."""

    def __init__(
        self, settings: Settings, sides: Sides, folder: Path, calibration: Calibration, display: Display
    ) -> None:
        self._settings = settings
        self._sides = sides
        self._folder = folder
        self._calibration = calibration
        self._display = display

    async def run(self) -> None:
        base = self._folder / BLOCKS
        base.mkdir(parents=True, exist_ok=True)
        for broken in base.glob(f"*{PART}"):
            shutil.rmtree(broken)
        attempts = by_attempt(read_blocks(self._folder))
        self._display.calibrated(self._calibration, sum(map(self._counts, attempts.values())))
        if self._is_hopeless():
            return
        for pair in range(self._settings.pairs):
            known = {attempt: blocks for (number, attempt), blocks in attempts.items() if number == pair}
            if any(map(self._counts, known.values())):
                continue
            attempt = max(known, default=-1) + 1
            while not await self._pair(pair, attempt):
                attempt += 1
                if self._is_hopeless():
                    return

    def _counts(self, blocks: list[Block]) -> bool:
        return len(blocks) == len(ARMS) and not any(self._rejections(block) for block in blocks)

    def _rejections(self, block: Block) -> list[str]:
        return block.rejections(self._calibration.floor)

    def _is_hopeless(self) -> bool:
        """Tell whether so many pairs are rejected that nothing could be decided any more."""
        attempts = [blocks for blocks in by_attempt(read_blocks(self._folder)).values() if len(blocks) == len(ARMS)]
        rejected = sum(not self._counts(blocks) for blocks in attempts)
        if rejected <= MOST_REJECTED * (self._settings.pairs + rejected):
            return False
        self._display.told(f"{rejected} pairs are rejected: nothing can be decided any more")
        return True

    async def _pair(self, pair: int, attempt: int) -> bool:
        """Measure a pair; return whether it counts. The members of one that does not are all measured again."""
        rejections: list[str] = []
        for place, arm in enumerate(order_of(self._settings.seed, pair, attempt)):
            self._display.block(pair, place)
            block = await self._block(pair, attempt, place, arm)
            rejections += self._rejections(block)
        self._display.pair(pair + 1, rejections)
        return not rejections

    async def _block(self, pair: int, attempt: int, place: int, arm: Arm) -> Block:
        """Measure a block and keep it, whole or not at all. Raises `OSError` where it cannot be kept."""
        seed = seed_of(self._settings.seed, pair, attempt)
        record = BlockRecord(pair, attempt, place, arm, seed, datetime.now(UTC).isoformat(), 0.0)
        final = self._folder / BLOCKS / record.folder
        part = final.with_name(final.name + PART)
        try:
            block = await self._measured(record, part)
            if not block.is_reachable:
                raise EngineUnavailable(f"{self._side(arm).name} does not answer any more")
            write_record(block.record, part)
            part.rename(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)  # nothing where it has its name
        return block

    async def _measured(self, record: BlockRecord, folder: Path) -> Block:
        side, other = self._side(record.arm), self._sides["a" if record.arm == "b" else "b"]
        endpoint = side.endpoint(natural=self._settings.natural, deadline=self._settings.deadline)
        opened = open_load(self._settings, endpoint, self._calibration.rate, record.seed, record.arm)
        closed = closed_load(self._settings, endpoint, self._settings.closed_seconds, record.seed, record.arm)
        token = side.target.where.token
        began, ticks, idle, used = time.perf_counter(), machine.ticks(), _cpu(other), _cpu(side)
        open_rows, open_info = await run_load(opened, folder / OPEN, token=token)
        server_cpu = _difference(used, _cpu(side))
        closed_rows, closed_info = await run_load(closed, folder / CLOSED, token=token)
        seconds = time.perf_counter() - began
        idle_cpu = _difference(idle, _cpu(other))
        measured = replace(
            record,
            seconds=seconds,
            steal=machine.steal(ticks, machine.ticks()),
            pressure=machine.pressure(),
            server_cpu_seconds=server_cpu,
            idle_share=None if idle_cpu is None else idle_cpu / seconds,
        )
        return Block(measured, open_rows, open_info, closed_rows, closed_info)

    def _side(self, arm: Arm) -> Side:
        return self._sides["b" if arm == "b" else "a"]


def _cpu(side: Side) -> float | None:
    return side.meter.cpu_seconds() if side.meter else None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)
