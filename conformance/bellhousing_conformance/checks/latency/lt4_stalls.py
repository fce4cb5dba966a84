"""LT4: the longest stall of a stream."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import declare, estimated
from bellhousing_conformance.loads import NEEDS, capacity, seconds_for, send_open
from bellhousing_conformance.probe import Probe

SHARE = 0.6


@check(
    "LT4",
    title="The longest stall of each stream is measured, and within what is declared",
    clause="bellhousing.v1.Delta",
    profile="latency",
    tier="standard",
    needs=NEEDS,
    judge=estimated("max_stall"),
    statistic="percentiles of the longest gap between two messages of a stream; a VALID Poisson load only",
    finds="with --slo on max_stall: a percentile whose whole interval is beyond its limit",
    alone=True,
    seconds=240,
)
async def streams_do_not_stall(probe: Probe) -> None:
    """Send Poisson arrivals at 0.6 of the capacity."""
    declare(probe)
    rate = SHARE * await capacity(probe)
    await send_open(probe, "stalls", rate=rate, seconds=seconds_for(probe, rate, standard=20, full=240))
