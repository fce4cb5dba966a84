"""X02: hardly a token is made after a cancellation."""

import asyncio
import time
from functools import partial

from bellhousing_conformance.check import check
from bellhousing_conformance.judges import undecided
from bellhousing_conformance.occupancy import cut_stream, inter_token_seconds, long_request
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import is_noisy, quantile, ticking
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

MOST_TOKENS = 4
WARM_TOKENS = 16
GIVE_UP_SECONDS = 1.0
POLL_SECONDS = 0.002


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the median of the tokens that fit between a cancellation and the freed place.

    Two round trips are taken off, the cancellation's and the question's; the interval is the middle half of the
    cancellations. The contract has no counter of tokens, so this bound is the smallest that can be seen from outside.
    """
    told = [row for row in rows if row["kind"] == "release" and row["inter_token_seconds"] > 0]
    if not told:
        return undecided(rows, "no stream was slow enough to be cancelled")
    tokens = [max(0.0, row["seconds"] - 2 * row["round_trip"]) / row["inter_token_seconds"] for row in told]
    low, middle, high = (quantile(tokens, share) for share in (0.25, 0.5, 0.75))
    figures = (
        Figure(name="n", value=len(told)),
        Figure(name="median of tokens after a cancellation", value=middle, low=low, high=high),
    )
    if middle <= MOST_TOKENS:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"tokens after a cancellation, median: expected at most {MOST_TOKENS}, found {middle:.1f}"
    status = Status.INCONCLUSIVE if is_noisy(rows) or low <= MOST_TOKENS else Status.FAIL
    return Judgement(status=status, figures=figures, problems=(problem,))


@check(
    "X02",
    title="At most 4 tokens are made after a cancellation",
    clause="bellhousing.v1.Inference",
    profile="cancel",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="median of (seconds until the place is free - 2 round trips) / inter-token latency",
    finds="an engine that goes on for more than 4 tokens after half of the cancellations",
    tier="standard",
    alone=True,
    seconds=180,
)
async def little_is_made_after_a_cancellation(probe: Probe) -> None:
    """Cancel after some tokens and ask GetLoad at once, again and again."""
    async with ticking(probe):
        for _ in range(probe.size(smoke=4, standard=10, full=30)):
            before = (await probe.load()).running
            round_trip = await _round_trip(probe)
            run = await cut_stream(probe, partial(long_request, probe), lambda run: run.tokens() >= WARM_TOKENS)
            if run is None:
                continue
            seconds = await _seconds_until_free(probe, before)
            pace = inter_token_seconds(run)
            probe.observe("release", seconds=seconds, round_trip=round_trip, inter_token_seconds=pace)


async def _round_trip(probe: Probe) -> float:
    """Return the median of three round trips, in seconds."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        await probe.load()
        times.append(time.perf_counter() - began)
    return sorted(times)[1]


async def _seconds_until_free(probe: Probe, running: int) -> float:
    began = time.perf_counter()
    while time.perf_counter() - began < GIVE_UP_SECONDS:
        if (await probe.load()).running <= running:
            break
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - began
