"""B04: after an overload the target is what it was."""

import asyncio
import time

from bellhousing_conformance.check import check
from bellhousing_conformance.judges import undecided
from bellhousing_conformance.occupancy import holding, lasting, places
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import is_noisy, quantile, ticking
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

MOST_RATIO = 1.25
MOST_SECONDS = 0.02
"""Below this difference two TTFTs count as equal: a client on a busy machine cannot tell them apart."""

RECOVERY_SECONDS = 30.0
FRESH_TIMES = 3


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Compare the median TTFT of the last requests after with the median and the upper quartile of those before."""
    before, later_rows = ([row["seconds"] for row in rows if row["kind"] == kind] for kind in ("before", "after"))
    after = later_rows[-len(before) :]
    if not before or not after:
        return undecided(rows, "the target was not overloaded")
    prior, later, upper = quantile(before, 0.5), quantile(after, 0.5), quantile(before, 0.75)
    figures = (
        Figure(name="n", value=len(after)),
        Figure(name="median TTFT before, seconds", value=prior, low=min(before), high=max(before)),
        Figure(name="median TTFT after, seconds", value=later, low=min(after), high=max(after)),
        Figure(name="ratio", value=later / prior if prior else 0.0),
    )
    if later <= max(MOST_RATIO * prior, upper + MOST_SECONDS):
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"median TTFT after an overload: expected at most {MOST_RATIO} times {prior:.3g} s, found {later:.3g} s"
    status = Status.INCONCLUSIVE if is_noisy(rows) else Status.FAIL
    return Judgement(status=status, figures=figures, problems=(problem,))


@check(
    "B04",
    title="Within 30 s of an overload the TTFT is at most 1.25 times what it was",
    clause="bellhousing.v1.Load.queued",
    profile="backpressure",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="ratio of the median TTFTs of single requests",
    finds="a TTFT that stays a quarter, and 20 ms, above what it was",
    requirement="SHOULD",
    tier="standard",
    alone=True,
    seconds=240,
)
async def an_overload_passes(probe: Probe) -> None:
    """Keep twice as many requests in the target as run at once, for a while, and compare what single ones take."""
    count = await places(probe)
    if not count:
        return
    seconds = {"smoke": 0.5, "standard": 4.0, "full": 60.0}[probe.tier]
    async with ticking(probe):
        await _single(probe, "warm")
        for _ in range(probe.size(smoke=6, standard=12)):
            await _single(probe, "before")
        if not await _overload(probe, 2 * count, seconds):
            probe.left_out("the target was not overloaded: the requests ended by themselves")
            return
        ended, size = time.monotonic(), probe.size(smoke=6, standard=12)
        while time.monotonic() - ended < RECOVERY_SECONDS / (5 if probe.tier == "smoke" else 1):
            for _ in range(size):
                await _single(probe, "after")
            if judge(probe.rows, 0.0).status is Status.PASS:
                break
        # Requests that ended the waiting were chosen for being quick: fresh ones decide. A machine is slow for a few
        # seconds by chance; a target that did not recover is slow each time.
        for _ in range(FRESH_TIMES):
            for _ in range(size):
                await _single(probe, "after")
            if judge(probe.rows, 0.0).status is Status.PASS:
                break


async def _overload(probe: Probe, count: int, seconds: float) -> bool:
    """Keep `count` requests in the target, of which half wait; then the client leaves. Tell whether they lasted."""
    async with holding(probe, count, wait=False):
        await asyncio.sleep(seconds)
        return probe.supports("sampling.ignore_eos") or (await probe.load()).queued > 0


async def _single(probe: Probe, kind: str) -> None:
    """Note the time to the first token of a request that is alone."""
    run = await probe.run(lasting(probe, max_tokens=1))
    first = next((ns for ns, what in zip(run.stamps_ns, run.kinds, strict=True) if what == "delta"), None)
    if first is not None:
        probe.observe(kind, seconds=(first - run.sent_ns) / 1e9)
