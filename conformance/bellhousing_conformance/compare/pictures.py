"""The geometry of the pictures of a comparison; a template draws them as inline SVG.

Coordinates are shares of the axes, from the left and from below.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from bellhousing_conformance.compare.blocks import MOST_STEAL, Arm, Block
from bellhousing_conformance.compare.comparison import BlockResult, Comparison, MetricResult
from bellhousing_conformance.compare.figures import COMPARED, measured_rows
from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.report.charts import Chart, Series, Tick, axis, scale_of
from bellhousing_conformance.verdict import Frozen

MOST_POINTS = 240
"""Of a curve: more cannot be seen."""

LONG_AXIS = 6.0
"""An axis whose end is more than so many times its beginning has marks in steps of 1, 2 and 5."""

FEW_TICKS = 5

RATIO_TICKS = (1 / 16, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 8, 16)
MOST_RATIO_TICKS = 7
LEAST_TICK_DISTANCE = 0.09
Axis = Callable[[float], float]
"""Where a value is on an axis."""

NAMES: dict[Arm, str] = {"a": "A", "b": "B", "again": "A again"}


class ForestRow(Frozen):
    """A ratio with its interval over the band in which A differs from itself; `again` is how much it seemed to."""

    title: str
    text: str
    tone: str
    value: float
    low: float
    high: float
    band_low: float
    band_high: float
    again: float


class Forest(Frozen):
    """Ratios on one logarithmic axis; `one` is where both sides are the same."""

    rows: tuple[ForestRow, ...]
    ticks: tuple[Tick, ...]
    one: float


class Curve(Frozen):
    """The shares of requests that took no longer than a time, as the points of a step line."""

    arm: Arm
    name: str
    points: tuple[tuple[float, float], ...]


class Distribution(Frozen):
    """Curves on one logarithmic axis of time."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    ticks: tuple[Tick, ...]


class Dot(Frozen):
    """A block in a timeline."""

    arm: Arm
    at: float
    value: float
    counts: bool
    text: str


class Timeline(Frozen):
    """The blocks in the order in which they were measured; values on a logarithmic axis."""

    title: str
    unit: str
    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]


def forest(comparison: Comparison) -> Forest | None:
    """Return the ratios; None where no metric has one with an interval."""
    told = [each for each in comparison.metrics if each.ratio and each.low and each.high]
    if not told:
        return None
    reach = max(_reach(each) for each in told) * 1.1

    def at(ratio: float) -> float:
        return min(1.0, max(0.0, 0.5 + math.log(ratio) / (2 * reach)))

    return Forest(rows=tuple(_forest_row(each, at) for each in told), ticks=tuple(_ratio_ticks(at)), one=0.5)


def _reach(metric: MetricResult) -> float:
    """Return how far from 1 a metric's row goes, in logarithms."""
    values = [metric.low, metric.high, 1 + (metric.margin or 0.05)]
    return max(abs(math.log(value)) for value in values if value)


def _forest_row(metric: MetricResult, at: Axis) -> ForestRow:
    floor = 1 + (metric.floor or 0.0)
    tones = {"better": "good", "worse": "bad", "equivalent": "note", "inconclusive": "open"}
    ratio = metric.ratio or 1.0
    return ForestRow(
        title=metric.title,
        text=f"{ratio:.2f} [{metric.low or 0:.2f}, {metric.high or 0:.2f}] {metric.word}",
        tone=tones[metric.verdict],
        value=at(ratio),
        low=at(metric.low or ratio),
        high=at(metric.high or ratio),
        band_low=at(1 / floor),
        band_high=at(floor),
        again=at(metric.floor_ratio or 1.0),
    )


def _ratio_ticks(at: Axis) -> Iterator[Tick]:
    inside = [ratio for ratio in RATIO_TICKS if 0 < at(ratio) < 1]
    kept = [1.0]
    for ratio in sorted(inside, key=lambda each: -abs(math.log(each))):
        if all(abs(at(ratio) - at(other)) >= LEAST_TICK_DISTANCE for other in kept) and len(kept) < MOST_RATIO_TICKS:
            kept.append(ratio)
    yield from (Tick(at=at(ratio), text=f"{ratio:.3g}") for ratio in sorted(kept))


def distributions(blocks: Sequence[Block]) -> list[Distribution]:
    """Return the distributions of TTFT and end-to-end latency over blocks that count."""
    found = [_distribution(METRICS[name].title, name, blocks) for name in ("ttft", "e2el")]
    return [each for each in found if each is not None]


def _distribution(title: str, name: str, blocks: Sequence[Block]) -> Distribution | None:
    values: dict[Arm, list[float]] = {"a": [], "b": [], "again": []}
    for block in blocks:
        values[block.record.arm] += METRICS[name].values(measured_rows(block))
    finite = sorted(value for each in values.values() for value in each if math.isfinite(value) and value > 0)
    if not finite:
        return None
    least, most = math.log(finite[0]), math.log(finite[-1])

    def at(seconds: float) -> float:
        return (math.log(seconds) - least) / (most - least) if most > least else 0.5

    curves = [Curve(arm=arm, name=NAMES[arm], points=tuple(_steps(each, at))) for arm, each in values.items() if each]
    ticks = tuple(_ticks(finite[0], finite[-1], at, "s"))
    return Distribution(title=title, unit=scale_of(finite[-1], "s")[1], curves=tuple(curves), ticks=ticks)


def _steps(values: Sequence[float], at: Axis) -> Iterator[tuple[float, float]]:
    """Yield the corners of a step line; failures are in the count and never reached."""
    ordered = sorted(value for value in values if math.isfinite(value) and value > 0)
    step, height = max(1, len(ordered) // MOST_POINTS), 0.0
    for place in range(0, len(ordered), step):
        last = min(len(ordered), place + step)
        yield at(ordered[last - 1]), height
        height = last / len(values)
        yield at(ordered[last - 1]), height


def timelines(comparison: Comparison) -> list[Timeline]:
    """Return each metric's blocks in the order of measuring."""
    order = sorted(comparison.blocks, key=lambda each: each.started)
    told = [_timeline(name, order) for name in COMPARED]
    return [each for each in told if each is not None]


def _timeline(name: str, order: Sequence[BlockResult]) -> Timeline | None:
    metric = COMPARED[name]
    known = [(place, each, value) for place, each in enumerate(order) if (value := each.figures[name])]
    if not known:
        return None
    values = [value for _, _, value in known]
    least, most = math.log(min(values)), math.log(max(values))

    def at(value: float) -> float:
        return (math.log(value) - least) / (most - least) if most > least else 0.5

    width = max(1, len(order) - 1)
    dots = [
        Dot(
            arm=each.arm,
            at=place / width,
            value=at(value),
            counts=each.counts,
            text=f"pair {each.pair + 1}, {NAMES[each.arm]}: {quantity(value, metric.unit)}",
        )
        for place, each, value in known
    ]
    ticks = tuple(_ticks(min(values), max(values), at, metric.unit))
    unit = scale_of(max(values), metric.unit)[1]
    return Timeline(title=metric.title, unit=unit, dots=tuple(dots), ticks=ticks)


def host(comparison: Comparison) -> list[Chart]:
    """Return what the host did in each block, in the order of measuring; none where the system tells nothing."""
    order = sorted(comparison.blocks, key=lambda each: each.started)
    steal, waits, pressure = ([(place, getattr(each, name)) for place, each in enumerate(order, 1)] for name in (
        "steal", "idle_share", "pressure",
    ))  # fmt: skip
    limited = _shares(
        "Processor time taken from each block",
        "Processor time that a hypervisor gave to others (steal), and that the side used which was not measured. A "
        "block with more than the dotted line is measured again.",
        {"steal": steal, "the side that waits": waits},
        MOST_STEAL,
    )
    pressed = _shares(
        "Pressure on the processors at the end of each block",
        "Share of the last 10 s in which something waited for a processor. The load itself does too: it decides "
        "nothing.",
        {"pressure": pressure},
    )
    return [chart for chart in (limited, pressed) if chart is not None]


def _shares(
    title: str, note: str, told: Mapping[str, Sequence[tuple[int, float | None]]], most: float | None = None
) -> Chart | None:
    """Return shares of the blocks in percent, with the most that is allowed."""
    known = {
        name: [(place, value * 100) for place, value in points if value is not None] for name, points in told.items()
    }
    values = [value for points in known.values() for _, value in points]
    if not values:
        return None
    limit = [] if most is None else [most * 100]
    x, y = axis([max(len(points) for points in told.values())]), axis([*limit, *values])
    series = [
        Series(label=name, line=tuple((x.at(place), y.at(value)) for place, value in points), form="dots")
        for name, points in known.items()
        if points
    ]
    for value in limit:
        line = ((0.0, y.at(value)), (1.0, y.at(value)))
        series.append(Series(label=f"limit of {value:g} %", line=line, form="dotted"))
    return Chart(
        title=title, note=note, x="blocks in the order of measuring", y="percent", ticks_x=x.ticks, ticks_y=y.ticks,
        series=tuple(series),
    )  # fmt: skip


def _ticks(least: float, most: float, at: Axis, unit: str) -> Iterator[Tick]:
    """Yield a few round marks: evenly apart on a short axis, in steps of 1, 2 and 5 on a long one."""
    scale = scale_of(most, unit)[0]
    low, high = least * scale, most * scale
    if high > low * LONG_AXIS:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [(step * 10.0**power, "g") for power in powers for step in (1, 2, 5)]
    else:
        rough = (high - low) / FEW_TICKS or high / 10
        power = math.floor(math.log10(rough))
        step = next(each * 10.0**power for each in (1, 2, 5, 10) if each * 10.0**power >= rough)
        decimals = max(0, -math.floor(math.log10(step)))
        count = math.floor(high / step) - math.ceil(low / step) + 1
        found = [((math.ceil(low / step) + number) * step, f".{decimals}f") for number in range(count)]
    kept: list[float] = []
    for value, form in found:
        if low <= value <= high and (not kept or at(value / scale) - at(kept[-1] / scale) >= LEAST_TICK_DISTANCE):
            kept.append(value)
            yield Tick(at=at(value / scale), text=f"{value:{form}}")


def quantity(value: float, unit: str) -> str:
    """Return a figure with its unit as people read it."""
    scale, told = scale_of(value, unit)
    return f"{value * scale:.3g} {told}"
