"""LT1: the latency of an idle target."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import declare, estimated
from bellhousing_conformance.loads import NEEDS, send_closed
from bellhousing_conformance.probe import Probe


@check(
    "LT1",
    title="TTFT and TPOT of one request at a time are measured, and within what is declared",
    clause="bellhousing.v1.Timeline",
    profile="latency",
    tier="standard",
    needs=NEEDS,
    judge=estimated("ttft", "tpot", "e2el"),
    statistic="percentiles with order-statistic intervals of the effective sample; a VALID load only",
    finds="with --slo: a percentile whose whole interval is beyond its limit",
    alone=True,
    seconds=180,
)
async def latency_when_idle(probe: Probe) -> None:
    """Send one request after the other."""
    declare(probe)
    count = probe.size(smoke=30, standard=70, full=700)
    await send_closed(probe, "idle", concurrency=1, seconds=probe.size(smoke=5, standard=60, full=400), requests=count)
