"""LT2: latency under an open load."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import declare, estimated
from bellhousing_conformance.loads import NEEDS, capacity, seconds_for, send_open
from bellhousing_conformance.probe import Probe

SHARES = (0.3, 0.6, 0.8)


@check(
    "LT2",
    title="Latency at 0.3, 0.6 and 0.8 of the capacity is measured, and within what is declared",
    clause="bellhousing.v1.Timeline",
    profile="latency",
    tier="standard",
    needs=NEEDS,
    judge=estimated("ttft", "tpot", "e2el"),
    statistic="percentiles with order-statistic intervals of the effective sample; VALID Poisson loads only",
    finds="with --slo: a percentile whose whole interval is beyond its limit",
    alone=True,
    seconds=400,
)
async def latency_under_load(probe: Probe) -> None:
    """Send Poisson arrivals at shares of the capacity, which --capacity tells or a closed loop finds."""
    declare(probe)
    most = await capacity(probe)
    for share in SHARES:
        seconds = seconds_for(probe, share * most, standard=20, full=240)
        await send_open(probe, f"{share:g} of capacity", rate=share * most, seconds=seconds)
