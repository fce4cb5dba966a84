"""S03: output comes while it is made, not at its end."""

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import undecided
from bellhousing_conformance.occupancy import lasting
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import wilson
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LEAST_SECONDS = 0.1
"""Shorter streams are not looked at: the client's own delays would decide."""

LATEST_SHARE = 0.5
RUNS_PER_MISS = 30
SMALLEST = 32


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Allow one late stream in thirty, and one in a smaller sample: a machine that stalls makes one, buffering all."""
    shares = [row["first_seconds"] / row["whole_seconds"] for row in rows if row["kind"] == "stream"]
    if not shares:
        problem = f"no stream lasted {LEAST_SECONDS:g} s: the target is too fast to tell"
        return undecided(rows, problem)
    late = [share for share in shares if share > LATEST_SHARE]
    low, high = wilson(len(shares) - len(late), len(shares))
    figures = (
        Figure(name="n", value=len(shares)),
        Figure(name="in time", value=1 - len(late) / len(shares), low=low, high=high),
        Figure(name="median share of the stream before its first delta", value=sorted(shares)[len(shares) // 2]),
    )
    if len(late) <= max(1, len(shares) // RUNS_PER_MISS):
        return Judgement(status=Status.PASS, figures=figures)
    problem = (
        f"expected the first delta before {LATEST_SHARE:.0%} of the stream's time in 29 of 30 streams, "
        f"found it later in {len(late)} of {len(shares)}, at {max(late):.0%}"
    )
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "S03",
    title="The first delta comes in the first half of a stream's time",
    clause="bellhousing.v1.Inference.Generate",
    profile="streaming",
    tier="standard",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="streams whose first delta is late: at most one, or one in thirty; Wilson's interval",
    finds="output that is held back to its end in more than one stream of thirty",
    alone=True,
    seconds=180,
)
async def output_comes_while_it_is_made(probe: Probe) -> None:
    """Time streams, made longer until they last long enough to be timed."""
    length = SMALLEST
    await probe.generate("Once", max_tokens=1)
    for _ in range(probe.size(smoke=4, standard=10, full=30)):
        seconds = 0.0
        while seconds < LEAST_SECONDS and length < probe.model.context_length // 2:
            run = await probe.run(lasting(probe, max_tokens=length))
            first, seconds = _times(run)
            length = length if seconds >= LEAST_SECONDS else length * 2
        if seconds >= LEAST_SECONDS and run.deltas():
            probe.observe("stream", first_seconds=first, whole_seconds=seconds, tokens=run.tokens())


def _times(run: Run) -> tuple[float, float]:
    """Return the seconds until the first delta and until the end, both since the request was sent."""
    stamps = [ns for ns, kind in zip(run.stamps_ns, run.kinds, strict=True) if kind == "delta"]
    first = stamps[0] if stamps else run.stamps_ns[-1]
    return (first - run.sent_ns) / 1e9, (run.stamps_ns[-1] - run.sent_ns) / 1e9
