"""What is measured before the first block: the capacity of each side, which warms it up, and what the sender adds."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Literal

from bellhousing.errors import EngineUnavailable
from bellhousing_conformance.compare.figures import capacity
from bellhousing_conformance.compare.loads import closed_load, open_load
from bellhousing_conformance.compare.settings import Settings
from bellhousing_conformance.compare.sides import Side
from bellhousing_conformance.load.document import read_document, write_document
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import reachable
from bellhousing_conformance.load.null import floor_of
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import RunInfo, Sent, read_rows, read_run
from bellhousing_conformance.load.schedule import MOST_RATE
from bellhousing_conformance.verdict import Frozen

FOLDER, CALIBRATION_FILE = "calibration", "calibration.json"
MOST_ROUNDS = 20
"""An engine may take half a minute for its first batches."""

STEADY_SHARE = 0.1
LEAST_SECONDS = 4.0
"""Of a round: shorter ones have hardly begun."""


class Capacity(Frozen):
    """What a side answers in a closed loop, a second; the last of `rounds`, and whether it was within 10 % of the one
    before.
    """

    tokens_per_second: float
    requests_per_second: float
    rounds: int
    is_steady: bool


class Calibration(Frozen):
    """What blocks are measured with. `rate` is that of the open loop, in requests/s.

    `floor` has the medians, in seconds by metric, of the same load on a server that does nothing; None where a side is
    no server of the contract, which has no such server.
    """

    schema_version: Literal["bellhousing.compare-calibration/1"] = "bellhousing.compare-calibration/1"
    capacity: dict[Literal["a", "b"], Capacity]
    rate: float
    floor: dict[str, float] | None


Told = Callable[[str], None]


async def calibrated(
    settings: Settings, sides: Mapping[Literal["a", "b"], Side], folder: Path, told: Told
) -> Calibration:
    """Return the calibration of a folder; measure it where there is none yet.

    Raises `EngineUnavailable` where a side answers nothing, `ConfigurationError` for a rate that measures too little or
    a folder that cannot be written.
    """
    if (folder / CALIBRATION_FILE).is_file():
        return read_calibration(folder)
    found: dict[Literal["a", "b"], Capacity] = {}
    for arm, side in sides.items():
        told(f"{arm.upper()}, {side.name}: warming up and measuring the capacity at {settings.concurrency} at once")
        found[arm] = await _capacity(settings, side, arm, folder / FOLDER)
        told(f"{arm.upper()}, {side.name}: {found[arm].requests_per_second:.3g} requests/s")
    rate = rate_of(settings, found)
    settings.check_rate(rate)
    floor = await _floor(settings, sides, rate)
    calibration = Calibration(capacity=found, rate=rate, floor=floor)
    write_document(calibration, folder / CALIBRATION_FILE)
    return calibration


def forget_calibration(folder: Path) -> None:
    """Remove what an earlier calibration left. Raises `OSError`."""
    (folder / CALIBRATION_FILE).unlink(missing_ok=True)
    if (folder / FOLDER).is_dir():
        shutil.rmtree(folder / FOLDER)


def rate_of(settings: Settings, found: Mapping[Literal["a", "b"], Capacity]) -> float:
    """Return the rate of the open loop, in requests/s, with three digits; at most what a sender may be asked for."""
    slower = min(each.requests_per_second for each in found.values())
    return settings.rate or min(MOST_RATE, float(f"{settings.share * slower:.3g}"))


def read_calibration(folder: Path) -> Calibration:
    """Return the calibration of a folder. Raises `ConfigurationError`."""
    return read_document(Calibration, folder / CALIBRATION_FILE, "calibration")


def recomputed(settings: Settings, told: Calibration, folder: Path) -> Calibration:
    """Return what follows from the rows of a calibration; the floor is kept as it was measured."""
    found = {arm: _last(_rounds(folder / FOLDER, arm)) for arm in told.capacity}
    return Calibration(capacity=found, rate=rate_of(settings, found), floor=told.floor)


async def _capacity(settings: Settings, side: Side, arm: str, folder: Path) -> Capacity:
    seconds = max(LEAST_SECONDS, settings.closed_seconds)
    endpoint = side.endpoint(natural=settings.natural, deadline=settings.deadline)
    runs: list[tuple[Sequence[Sent], RunInfo]] = []
    for number in range(1, MOST_ROUNDS + 1):
        seed = Random(f"calibration/{settings.seed}/{number}").randrange(2**31)
        job = closed_load(settings, endpoint, seconds, seed, arm)
        runs.append(await run_load(job, folder / f"{arm}-{number}", token=side.target.where.token))
        _check(side, runs[-1])
        if _last(runs).is_steady:
            break
    if not _last(runs).requests_per_second:
        raise EngineUnavailable(
            f"{side.name}: expected requests to end within {seconds:g} s, found none after {len(runs)} rounds"
        )
    return _last(runs)


def _check(side: Side, run: tuple[Sequence[Sent], RunInfo]) -> None:
    """Raise `EngineUnavailable` for a side that answers nothing."""
    rows, info = run
    if not any(row.is_ok for row in rows) or not reachable(Run(rows, info)).is_kept:
        failed = next((row for row in rows if not row.is_ok), None)
        reason = f"{failed.code} {failed.reason}".strip() if failed else "no answer in time"
        raise EngineUnavailable(f"{side.name}: expected answers, found {reason}")


def _rounds(folder: Path, arm: str) -> list[tuple[Sequence[Sent], RunInfo]]:
    folders = sorted(folder.glob(f"{arm}-*"), key=lambda each: int(each.name.partition("-")[2]))
    return [(read_rows(each), read_run(each)) for each in folders]


def _last(runs: Sequence[tuple[Sequence[Sent], RunInfo]]) -> Capacity:
    rates = [capacity(rows, info.phases[-1]) for rows, info in runs]
    tokens, requests = rates[-1]
    before = rates[-2][0] if len(rates) > 1 else 0.0
    is_steady = before > 0 and abs(tokens / before - 1) <= STEADY_SHARE
    return Capacity(tokens_per_second=tokens, requests_per_second=requests, rounds=len(rates), is_steady=is_steady)


async def _floor(settings: Settings, sides: Mapping[Literal["a", "b"], Side], rate: float) -> dict[str, float] | None:
    if any(side.kind != "contract" for side in sides.values()):
        return None
    endpoint = sides["a"].endpoint(natural=settings.natural, deadline=settings.deadline)
    return await floor_of(open_load(settings, endpoint, rate, settings.seed, "floor"))
