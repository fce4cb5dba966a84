"""The pictures of one load run: what the sender did, what the target did over its time, and what the host did."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import LAG_SECONDS
from bellhousing_conformance.load.metrics import METRICS, NS
from bellhousing_conformance.load.percentiles import ranks
from bellhousing_conformance.load.record import NOT_SENT, Sent
from bellhousing_conformance.load.schedule import operational
from bellhousing_conformance.load.steady import BLOCK
from bellhousing_conformance.report.charts import Axis, Chart, Series, axis, highest, scale_of

STRETCHES = 100
"""Parts of a run in which the gaps between messages are told together."""

LEAST_GAPS = 10
DRAWN_LAWS = {"poisson": "exponential", "gamma": "gamma"}
SECONDS = "seconds since the start"
Point = tuple[float, float]


def run_charts(run: Run) -> list[Chart]:
    """Return the pictures that a run has something for."""
    sent = sorted((row for row in run.rows if row.code != NOT_SENT), key=lambda row: (row.intended_ns, row.index))
    found = [_steady(run, sent), _gaps(run, sent), _lag(run)]
    if run.info.arrivals.is_open:
        found = [*found[:2], _delays(run, sent), *found[2:], _quantiles(run), _neighbours(run)]
    return [chart for chart in found if chart is not None]


def _over_time(
    run: Run, title: str, note: str, y: str, series: Sequence[tuple[Series, Sequence[Point]]]
) -> Chart | None:
    """Return curves over the time of a run, from points in seconds; None where none has two points."""
    values = [value for _, points in series for _, value in points]
    if max((len(points) for _, points in series), default=0) < 2:
        return None
    scale, unit = scale_of(max(values), "s")
    start, end = (at / NS for at in run.window)
    x, of_y = axis([*(at for _, points in series for at, _ in points), start, end]), axis(v * scale for v in values)
    return Chart(
        title=title,
        note=note,
        x=SECONDS,
        y=f"{y}, {unit}",
        ticks_x=x.ticks,
        ticks_y=of_y.ticks,
        window=(x.at(start), x.at(end)),
        series=tuple(
            told.model_copy(update={"line": _drawn(points, x, of_y, scale)}) for told, points in series if points
        ),
    )


def _drawn(points: Sequence[Point], x: Axis, y: Axis, scale: float) -> tuple[Point, ...]:
    return tuple((x.at(at), y.at(value * scale)) for at, value in points)


def _steady(run: Run, sent: Sequence[Sent]) -> Chart | None:
    of = METRICS["ttft"].of
    told = [(row.intended_ns / NS, value) for row in sent if (value := of(row)) is not None and math.isfinite(value)]
    tens = [told[start : start + BLOCK] for start in range(0, len(told) - BLOCK + 1, BLOCK)]
    medians = [(median(at for at, _ in ten), median(value for _, value in ten)) for ten in tens]
    return _over_time(
        run,
        "Time to first token over the run",
        "Each request that ended well (of many the slowest of each stretch), and the median of each ten. Level within "
        "the measured time is steady.",
        "TTFT",
        (
            (Series(label="request", line=(), form="dots"), highest(told)),
            (Series(label="median of ten", line=()), medians),
        ),
    )


def _gaps(run: Run, sent: Sequence[Sent]) -> Chart | None:
    told = sorted(
        (at / NS, gap / NS)
        for row in sent
        for (at, _), (gap, _) in list(zip(row.stamps, row.gaps, strict=True))[1:]
    )  # fmt: skip
    if not told:
        return None
    start, length = told[0][0], (told[-1][0] - told[0][0]) or 1.0
    stretches: dict[int, list[Point]] = {}
    for at, gap in told:
        stretches.setdefault(min(STRETCHES - 1, int((at - start) / length * STRETCHES)), []).append((at, gap))
    longest = [max(each, key=lambda point: point[1]) for each in stretches.values()]
    middle = [(median(at for at, _ in each), median(gap for _, gap in each)) for each in stretches.values()]
    return _over_time(
        run,
        "Gaps between messages over the run",
        f"The longest and the median gap of all streams in each of {STRETCHES} parts of the run. A peak is a stall.",
        "gap",
        ((Series(label="longest", line=()), longest), (Series(label="median", line=()), middle)),
    )


def _delays(run: Run, sent: Sequence[Sent]) -> Chart | None:
    told = [(row.intended_ns / NS, (row.sent_ns - row.intended_ns) / NS) for row in sent if row.turn == 0]
    return _over_time(
        run,
        "Sent after intended",
        "How long after its intended time each request was sent (of many the latest of each stretch). Latencies count "
        "from the intended time.",
        "send delay",
        ((Series(label="request", line=(), form="dots"), highest(told)),),
    )


def _lag(run: Run) -> Chart | None:
    samples = [(sample.at_ns / NS, sample.lag_ns / NS) for sample in run.info.samples if sample.at_ns >= 0]
    kept = highest(samples)
    ends = [(kept[0][0], LAG_SECONDS), (kept[-1][0], LAG_SECONDS)] if kept else []
    return _over_time(
        run,
        "Noise of the sender's host",
        "How late the sender was woken, at worst in each stretch. Its p99 must keep below the dotted line.",
        "lag",
        (
            (Series(label="lag", line=()), kept),
            (Series(label="most of p99", line=(), form="dotted"), ends),
        ),
    )


def _quantiles(run: Run) -> Chart | None:
    """Return the gaps at which requests were sent against those of the law, or of a trace's schedule."""
    gaps = sorted(_gaps_of([row.sent_ns for row in run.first_turns], run))
    if len(gaps) < LEAST_GAPS:
        return None
    places = [*range(0, len(gaps), math.ceil(len(gaps) / STRETCHES)), len(gaps) - 1]
    expected, low, high = _expected(run, places, len(gaps))
    scale = axis([*gaps, *expected])
    dots, upper, lower = ([(scale.at(x), scale.at(y)) for x, y in zip(expected, each, strict=True)] for each in (
        [gaps[place] for place in places], high or expected, low or expected,
    ))  # fmt: skip
    law = DRAWN_LAWS.get(run.info.arrivals.law)
    what = f"an {law}" if law == "exponential" else f"a {law}"
    against = f"quantiles of {what} law; the band holds 95 % of each" if law else "gaps of the trace's schedule"
    return Chart(
        title="Gaps between arrivals against their law" if law else "Gaps between arrivals against the trace",
        note=f"Gaps at which requests were sent, against {against}. On the line they are as stated.",
        x="expected gap, in mean gaps",
        y="gap as sent, in mean gaps",
        ticks_x=scale.ticks,
        ticks_y=scale.ticks,
        series=(
            Series(label="gap", line=tuple(dots), band=(*upper, *reversed(lower)), form="dots"),
            Series(label="as stated", line=((0.0, 0.0), (1.0, 1.0)), form="dotted"),
        ),
    )


def _expected(run: Run, places: Sequence[int], n: int) -> tuple[list[float], list[float], list[float]]:
    """Return the gaps that are expected at some places of n in order, and of a law the interval of each."""
    from scipy.stats import beta, gamma

    arrivals = run.info.arrivals
    if arrivals.law not in DRAWN_LAWS:
        meant = sorted(_gaps_of([row.intended_ns for row in run.first_turns], run))
        return [meant[place] for place in places], [], []
    shape = arrivals.cv**-2
    law = gamma(shape, scale=1 / shape)
    first, last = [place + 1 for place in places], [n - place for place in places]
    low, high = (law.ppf(beta.ppf(share, first, last)).tolist() for share in (0.025, 0.975))
    return law.ppf([(place + 0.5) / n for place in places]).tolist(), low, high


def _neighbours(run: Run) -> Chart | None:
    """Return the ranks of successive gaps: where one depends on the one before, they form a shape."""
    gaps = _gaps_of([row.sent_ns for row in run.first_turns], run)
    if len(gaps) < LEAST_GAPS:
        return None
    scale = axis([0.0, 1.0])
    pairs = list(pairwise((rank - 0.5) / len(gaps) for rank in ranks(gaps)))
    return Chart(
        title="Each gap beside the next",
        note="Ranks of successive gaps between arrivals. Spread evenly, none says anything of the next.",
        x="rank of a gap, 1 the longest",
        y="rank of the next",
        ticks_x=scale.ticks,
        ticks_y=scale.ticks,
        series=(Series(label="gap", line=tuple(pairs[:: math.ceil(len(pairs) / 400)]), form="dots"),),
    )


def _gaps_of(times: Sequence[int], run: Run) -> list[float]:
    """Return the gaps between times in mean gaps, whatever the rates of the phases."""
    return [after - before for before, after in pairwise(sorted(operational(run.info.phases, at) for at in times))]
