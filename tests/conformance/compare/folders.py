"""Folders of comparisons as perfect senders would have left them: service times are constants, so all is known."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from bellhousing_conformance.calls import Address
from bellhousing_conformance.compare.blocks import (
    BLOCKS,
    CLOSED,
    OPEN,
    Arm,
    BlockRecord,
    order_of,
    seed_of,
    write_record,
)
from bellhousing_conformance.compare.calibration import CALIBRATION_FILE, FOLDER, Calibration, recomputed
from bellhousing_conformance.compare.execution import keep_subjects
from bellhousing_conformance.compare.loads import closed_load, open_load
from bellhousing_conformance.compare.settings import Settings, settings_of, write_settings
from bellhousing_conformance.compare.sides import Side
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.job import Job
from bellhousing_conformance.load.record import Sent, write_load
from bellhousing_conformance.load.validation import Service, known_rows
from bellhousing_conformance.report.model import Subject
from bellhousing_conformance.targets.target import Target
from tests.conformance.load.rows import samples_of

ENDPOINT = Endpoint("contract", "127.0.0.1:1")
SIDES = {"a": {"address": "127.0.0.1:1"}, "b": {"address": "127.0.0.1:2"}}
FLOOR = {"ttft": 0.0005, "tpot": 0.0001, "e2el": 0.001}
PAIRS = 8


def settings(**told: object) -> Settings:
    """Return settings of short blocks at a rate that keeps the places free."""
    return settings_of({**SIDES, "seed": 5, "pairs": PAIRS, "block_seconds": 12, "rate": 5.0, **told})


def service(scale: float) -> Service:
    """Return service times that are so much longer than those of the reference."""
    return Service(first_token=0.1 * scale, inter_token=0.01 * scale, tokens=8, places=64)


def subject(**told: str) -> Subject:
    """Return what a side tells of itself."""
    return Subject(address="127.0.0.1:1", **{"model_digest": "sha256:1", "precision": "float16", **told})


def compared(
    folder: Path,
    scales: Mapping[Arm, float],
    *,
    noise: float = 0.01,
    cpu: Mapping[Arm, float] | None = None,
    subjects: tuple[Subject, Subject] | None = None,
    **told: object,
) -> Settings:
    """Write a comparison in which every side's service times are known but for noise; return its settings."""
    asked, source = settings(**told), Random(9)
    write_settings(asked, folder)
    first, second = subjects or (subject(), subject())
    target = Target(Address("127.0.0.1:1"))
    keep_subjects({"a": Side("a", "contract", target, first), "b": Side("b", "contract", target, second)}, folder)
    _calibrate(asked, folder, scales)
    for pair in range(asked.pairs):
        for place, arm in enumerate(order_of(asked.seed, pair, 0)):
            scale = scales[arm] * (1 + source.gauss(0, noise))
            write_block(
                asked, folder, BlockRecord(pair, 0, place, arm, seed_of(asked.seed, pair, 0), "", 12.0), scale, cpu
            )
    return asked


def write_block(
    asked: Settings, folder: Path, record: BlockRecord, scale: float, cpu: Mapping[Arm, float] | None = None
) -> Path:
    """Write one block of known service times; return its folder."""
    own = folder / BLOCKS / record.folder
    shutil.rmtree(own, ignore_errors=True)
    (own / OPEN).mkdir(parents=True)
    (own / CLOSED).mkdir()
    opened = open_load(asked, ENDPOINT, asked.rate or 1.0, record.seed, record.arm)
    rows = known_rows([each.intended_ns or 0 for each in opened.plan], service(scale))
    keep(opened, rows, own / OPEN)
    keep(*closed(asked, record.seed, record.arm, scale), own / CLOSED)
    used = cpu[record.arm] * sum(row.tokens for row in rows) if cpu else None
    started = f"2026-01-01T{record.pair:02d}:{record.attempt:02d}:{record.place:02d}+00:00"
    write_record(replace(record, started=started, server_cpu_seconds=used), own)
    return own


def closed(asked: Settings, seed: int, arm: str, scale: float, seconds: float | None = None) -> tuple[Job, list[Sent]]:
    """Return a closed loop and its rows: each place sends as soon as it is free."""
    length = asked.closed_seconds if seconds is None else seconds
    job, known = closed_load(asked, ENDPOINT, length, seed, arm), service(scale)
    each = round(known.seconds * 1e9)
    starts = [at for at in range(0, round(length * 1e9), each) for _ in range(asked.concurrency)]
    return replace(job, plan=job.plan[: len(starts)]), known_rows(starts, known)


def keep(job: Job, rows: list[Sent], folder: Path) -> None:
    """Write rows as a sender with time to spare would have."""
    folder.mkdir(parents=True, exist_ok=True)
    info = job.info(started="", seconds=12.0, cpu_seconds=0.1, planned=len(rows))
    write_load(rows, replace(info, samples=tuple(samples_of(rows))), folder)


def _calibrate(asked: Settings, folder: Path, scales: Mapping[Arm, float]) -> None:
    arms: tuple[Arm, ...] = ("a", "b")
    for arm in arms:
        for number in (1, 2):
            keep(*closed(asked, number, arm, scales[arm], 4.0), folder / FOLDER / f"{arm}-{number}")
    draft = Calibration.model_validate({"capacity": {"a": _CAPACITY, "b": _CAPACITY}, "rate": 1.0, "floor": FLOOR})
    found = recomputed(asked, draft, folder)
    (folder / CALIBRATION_FILE).write_text(found.model_dump_json())


_CAPACITY = {"tokens_per_second": 1.0, "requests_per_second": 1.0, "rounds": 1, "is_steady": True}
