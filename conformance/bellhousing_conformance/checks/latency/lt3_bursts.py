"""LT3: latency under bursts."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import declare, estimated
from bellhousing_conformance.loads import NEEDS, capacity, seconds_for, send_open
from bellhousing_conformance.probe import Probe

SHARE, CV = 0.5, 3.0


@check(
    "LT3",
    title="Latency under bursts (Gamma arrivals, CV 3) is measured, and within what is declared",
    clause="bellhousing.v1.Timeline",
    profile="latency",
    tier="standard",
    needs=NEEDS,
    judge=estimated("ttft", "tpot", "e2el"),
    statistic="percentiles with order-statistic intervals of the effective sample; a VALID Gamma load only",
    finds="with --slo: a percentile whose whole interval is beyond its limit",
    alone=True,
    seconds=240,
)
async def latency_in_bursts(probe: Probe) -> None:
    """Send Gamma arrivals at half the capacity."""
    declare(probe)
    rate = SHARE * await capacity(probe)
    await send_open(probe, "bursts", rate=rate, seconds=seconds_for(probe, rate / 2, standard=25, full=240), cv=CV)
