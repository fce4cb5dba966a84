"""LT5: how many requests are within every objective."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import attained, declare
from bellhousing_conformance.loads import NEEDS, capacity, seconds_for, send_open
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import NotRun

SHARE = 0.6


@check(
    "LT5",
    title="Enough requests are within every declared limit at once, failures counted as bad",
    clause="bellhousing.v1.Timeline",
    profile="latency",
    tier="standard",
    needs=NEEDS,
    judge=attained,
    statistic="share of good requests with Wilson's interval of the effective sample; a VALID Poisson load only",
    finds="a share whose whole interval is below the declared one",
    alone=True,
    seconds=240,
)
async def objectives_are_attained(probe: Probe) -> None:
    """Send Poisson arrivals at 0.6 of the capacity."""
    if probe.bench.slo is None or not probe.bench.slo.objective:
        raise NotRun("no objective is declared; --slo names a file of them")
    declare(probe)
    rate = SHARE * await capacity(probe)
    await send_open(probe, "attainment", rate=rate, seconds=seconds_for(probe, rate, standard=25, full=240))
