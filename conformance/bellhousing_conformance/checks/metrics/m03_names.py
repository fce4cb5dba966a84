"""M03: the metrics that gateways and dashboards read are there, and tell the truth."""

from itertools import pairwise

from bellhousing_conformance.check import check
from bellhousing_conformance.exposition import (
    HISTOGRAMS,
    KV_USE,
    OURS,
    QUEUED,
    RUNNING,
    Scrape,
    scrape,
    settled,
)
from bellhousing_conformance.occupancy import holding, places
from bellhousing_conformance.probe import Probe

WAITING = 2
PREFIXES = ("gen_ai_server_", OURS)


@check(
    "M03",
    title="Queue, running and KV gauges and the gen_ai.server histograms are there and are true",
    clause="bellhousing.v1.Load",
    profile="metrics",
    tier="standard",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    hooks=("metrics",),
    finds="a metric that is missing or has another name, a gauge that does not follow, buckets that do not add up",
    alone=True,
    seconds=120,
)
async def what_is_read_is_there(probe: Probe) -> None:
    """Fill every place and two of the queue, and look at the gauges; then at the shape of the histograms."""
    idle = await scrape(probe)
    queued, running = idle.first(QUEUED), idle.first(RUNNING)
    probe.holds(bool(queued), f"the queue: expected a gauge {' or '.join(QUEUED)}, found none")
    probe.holds(bool(running), f"what runs: expected a gauge {' or '.join(RUNNING)}, found none")
    most = await places(probe)
    if queued and running and most:
        await _gauges_follow(probe, queued, running, most)
    for convention, name in HISTOGRAMS.items():
        _look(probe, await scrape(probe), convention, name)


async def _gauges_follow(probe: Probe, queued: str, running: str, most: int) -> None:
    def is_full(found: Scrape) -> bool:
        return found.total(running) == most and found.total(queued) == WAITING

    async with holding(probe, most), holding(probe, WAITING, wait=False):
        full, _ = await settled(probe, is_full)
    probe.equal(f"{running} with {most} requests in {most} places", found=full.total(running), expected=float(most))
    probe.equal(f"{queued} with {WAITING} more", found=full.total(queued), expected=float(WAITING))
    used = full.first(KV_USE)
    if used:
        probe.within(f"{used} with every place taken", found=full.total(used), low=0.0, high=1.0)


def _look(probe: Probe, found: Scrape, convention: str, name: str) -> None:
    """Note whether a histogram is there, its buckets never fall, and the last has every observation."""
    full = next((f"{prefix}{name}" for prefix in PREFIXES if found.has(f"{prefix}{name}_bucket")), "")
    expected = " or ".join(f"{prefix}{name}" for prefix in PREFIXES)
    probe.holds(bool(full), f"{convention}: expected a histogram {expected}, found none")
    if not full:
        return
    buckets = found.by(f"{full}_bucket", "le")
    ordered = [count for _, count in sorted((float(bound), count) for bound, count in buckets.items())]
    is_rising = all(a <= b for a, b in pairwise(ordered))
    probe.holds(is_rising, f"{full}: expected buckets that add up, found {ordered}")
    probe.equal(f"{full}: the last bucket", found=ordered[-1], expected=found.total(f"{full}_count"))
