"""B02: who comes first is served first."""

import asyncio

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import undecided
from bellhousing_conformance.occupancy import holding, places, seconds_until
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST_TAU = 0.9
QUEUE_SECONDS = 5.0


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Compare the order of arrival with the order of starting, by Kendall's tau (Kendall, 1938)."""
    from scipy.stats import kendalltau

    started = {row["arrival"]: row["started"] for row in rows if row["kind"] == "served"}
    if len(started) < 3:
        return undecided(rows, "fewer than three requests waited")
    order = sorted(started)
    tau = float(kendalltau(order, [started[arrival] for arrival in order]).statistic)
    figures = (Figure(name="n", value=len(order)), Figure(name="Kendall's tau", value=tau))
    if tau >= LEAST_TAU:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"order of starting against order of arrival: expected tau at least {LEAST_TAU}, found {tau:.2f}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "B02",
    title="Requests of one class and tenant start in the order in which they came",
    clause="bellhousing.v1.GenerateRequest.priority",
    profile="backpressure",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="Kendall's tau of arrival and start",
    finds="one pair in twenty that starts in the wrong order",
    requirement="SHOULD",
    tier="standard",
    alone=True,
    seconds=180,
)
async def who_comes_first_is_served_first(probe: Probe) -> None:
    """Fill every place, queue requests one after the other, free one place, and note when each starts."""
    count = await places(probe)
    waiting: list[asyncio.Task[Run]] = []
    async with holding(probe, count) as held:
        for _ in range(probe.size(smoke=10, standard=24) if count else 0):
            before = (await probe.load()).queued
            waiting.append(asyncio.ensure_future(probe.calls.stream(probe.request(max_tokens=1))))
            await seconds_until(probe, lambda load, before=before: load.queued > before, QUEUE_SECONDS)  # type: ignore[misc]
        if held:
            held[0].cancel()
        runs = await asyncio.gather(*waiting)
    for arrival, run in enumerate(runs):
        if run.failed is not None:
            raise run.failed
        probe.observe("served", arrival=arrival, started=run.stamps_ns[0])
