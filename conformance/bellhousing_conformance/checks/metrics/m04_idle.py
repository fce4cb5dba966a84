"""M04: the gauges of an idle target are zero."""

from functools import partial

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.exposition import OURS, QUEUED, RUNNING, Scrape, scrape, settled
from bellhousing_conformance.probe import Probe

GAUGES = (
    *QUEUED,
    *RUNNING,
    *(f"{OURS}{name}" for name in ("requests_waiting", "requests_running", "queued_tokens", "tokens_in_flight")),
)
AT_ONCE = 8


@check(
    "M04",
    title="The gauges of requests and tokens are zero when nothing runs",
    clause="bellhousing.v1.Load.running",
    profile="metrics",
    tier="standard",
    needs=("sampling.max_tokens",),
    hooks=("metrics",),
    finds="a gauge that a request which ended, failed or was abandoned has left above zero",
    alone=True,
    seconds=120,
)
async def gauges_fall_to_zero(probe: Probe) -> None:
    """Send requests, abandon some of them, and wait until every gauge is zero."""
    count = probe.size(smoke=8, standard=16, full=200)
    whole = [partial(probe.generate, max_tokens=16) for _ in range(count)]
    await probe.each(whole, at_once=AT_ONCE)
    abandoned = [partial(probe.run, probe.request(max_tokens=64), until=_has_begun) for _ in range(count)]
    await probe.each(abandoned, at_once=AT_ONCE)
    known = [name for name in GAUGES if (await scrape(probe)).has(name)]

    def is_idle(found: Scrape) -> bool:
        return all(found.total(name) == 0 for name in known)

    found, _ = await settled(probe, is_idle)
    probe.holds(bool(known), f"expected one of the gauges {', '.join(GAUGES)}, found none")
    for name in known:
        probe.equal(f"{name} of an idle target", found=found.total(name), expected=0.0)


def _has_begun(run: Run) -> bool:
    return run.tokens() > 1
