"""A soak: one long load, what the target holds meanwhile, and what is left when it is over.

Its rows are `soak` (what was asked for), `held` (bytes, files, threads, processes and requests at a time and in a
phase), and those of `loads`. The checks of the profile share them, so that a run soaks once.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bellhousing_conformance.bench import SOAK_SECONDS
from bellhousing_conformance.loads import capacity, send_open
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Row, Rows

SHARE = 0.5
LOOKS = 120
LEAST_PAUSE = 0.1
SETTLE_SECONDS = {"smoke": 2.0, "standard": 10.0, "full": 60.0}
RESOLUTION_BYTES = 16 * 2**20
"""What a run that is too short for a slope an hour may grow by: allocators take memory in steps of this order."""

SETTLED_SHARE = 0.2
"""Of the looks, the first ones tell nothing of a trend: caches and pools fill then."""

LEAST_LOOKS = 8
HOUR, MIB = 3600.0, 2**20

LEFT = ("files", "threads", "processes", "running", "queued")
"""What must be as it was before."""


@dataclass(frozen=True, slots=True)
class Trend:
    """The resident memory of a soak and its slope (Theil-Sen, 95 %): times in seconds, sizes in MiB.

    `slope`, `low` and `high` are MiB an hour; the line is `base` MiB at time 0. The slope is that of `settled`, the
    later of the looks.
    """

    looks: tuple[tuple[float, float], ...]
    settled: tuple[tuple[float, float], ...]
    slope: float
    low: float
    high: float
    base: float


def memory_trend(rows: Rows) -> Trend | None:
    """Return the trend of the memory that an attempt looked at; None when it looked too seldom."""
    looks = [(row["seconds"], row["rss"] / MIB) for row in rows if _is_of_memory(row)]
    settled = looks[int(SETTLED_SHARE * len(looks)) :]
    if len(settled) < LEAST_LOOKS:
        return None
    from scipy.stats import theilslopes

    found = theilslopes([size for _, size in settled], [at / HOUR for at, _ in settled], alpha=0.95)
    slope, low, high = float(found.slope), float(found.low_slope), float(found.high_slope)
    return Trend(tuple(looks), tuple(settled), slope, low, high, float(found.intercept))


def _is_of_memory(row: Row) -> bool:
    return row["kind"] == "held" and row["phase"] == "during" and "rss" in row


async def soak(probe: Probe) -> None:
    """Note the soak of this run; the first check that asks for it makes it."""
    kept = probe.bench.soak
    if not kept:
        start = len(probe.rows)
        await _soaked(probe)
        kept += probe.rows[start:]
        return
    probe.rows += kept


async def _soaked(probe: Probe) -> None:
    seconds = probe.bench.soak_seconds or SOAK_SECONDS[probe.tier]
    is_short = probe.tier == "smoke"
    probe.observe("soak", seconds=seconds, resolution=RESOLUTION_BYTES if is_short else 0)
    rate = SHARE * await capacity(probe)
    await send_open(probe, "warm-up", rate=rate, seconds=min(30.0, seconds / 4))
    before = await _look(probe, "before")
    async with _looking(probe, max(LEAST_PAUSE, seconds / LOOKS)):
        await send_open(probe, "soak", rate=rate, seconds=seconds)
    for _ in range(round(SETTLE_SECONDS[probe.tier] / LEAST_PAUSE)):
        if _is_as_before(before, await _held(probe)):
            break
        await asyncio.sleep(LEAST_PAUSE)
    await _look(probe, "after")


@contextlib.asynccontextmanager
async def _looking(probe: Probe, pause: float) -> AsyncIterator[None]:
    async def look() -> None:
        while True:
            await _look(probe, "during")
            await asyncio.sleep(pause)

    task = asyncio.ensure_future(look())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _look(probe: Probe, phase: str) -> dict[str, int]:
    at, found = time.monotonic(), await _held(probe)
    probe.observe("held", phase=phase, seconds=at, **found)
    return found


async def _held(probe: Probe) -> dict[str, int]:
    """Return what the target holds, as far as its hooks and GetLoad tell."""
    load = await probe.load()
    found = {"running": load.running, "queued": load.queued}
    if probe.hooks.has("rss"):
        found["rss"] = int(await probe.hooks.call("rss"))
    if probe.hooks.has("stats"):
        found |= {name: int(value) for name, value in json.loads(await probe.hooks.call("stats")).items()}
    return found


def _is_as_before(before: dict[str, int], now: dict[str, int]) -> bool:
    return all(now.get(name, 0) <= before.get(name, 0) for name in LEFT)
