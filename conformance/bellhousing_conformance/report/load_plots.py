"""The pictures of loads and soaks: curves from the raw samples beside a report, as shares of their axes.

Samples that are missing, or not those of the report, are not drawn: `verify` says so.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.load.percentiles import LEAST_SIZES, percentile, ranks
from bellhousing_conformance.loads import Load, loads_of
from bellhousing_conformance.report.charts import MOST_POINTS, Axis, Chart, Series, axis, highest, scale_of
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.reading import number
from bellhousing_conformance.report.run_charts import run_charts
from bellhousing_conformance.report.samples import read_samples
from bellhousing_conformance.soak import HOUR, memory_trend
from bellhousing_conformance.stats import effective_size
from bellhousing_conformance.verdict import Row

SHARE_AT = "share at "
"""How figures of TH2 begin, before the rate."""

DISTRIBUTIONS = {
    "ttft": "Time to first token", "e2el": "End-to-end latency", "max_stall": "Longest stall of each stream"
}  # fmt: skip
"""Metrics whose distribution is drawn, and the titles of the pictures."""


def charts(report: ConformanceReport, folder: Path) -> list[Chart]:
    """Return the pictures that the samples of a report have something for."""
    rows = {check: _rows(report, folder, check) for check in ("LT2", "LT4", "TH2", "K01", "K02")}
    loads = {check: [load for load in loads_of(rows[check]) if load.scenario != "capacity"] for check in rows}
    found = [
        distribution("ttft", loads["LT2"]),
        distribution("e2el", loads["LT2"]),
        distribution("max_stall", loads["LT4"]),
        _rate("Latency against the offered rate", loads["LT2"]),
        *_of_busiest(loads["LT2"]),
        _goodput(report),
        _memory(rows["K01"]),
        _soaked(loads["K02"]),
    ]
    return [chart for chart in found if chart is not None]


def charts_of_load(load: Load) -> list[Chart]:
    """Return the pictures of a load run; a closed loop has no latencies under load to show."""
    told = DISTRIBUTIONS if load.run.info.arrivals.is_open else ()
    found = [distribution(metric, [load]) for metric in told]
    return [*(chart for chart in found if chart is not None), *run_charts(load.run)]


def _rows(report: ConformanceReport, folder: Path, check: str) -> list[Row]:
    attempt = next((r.attempts[-1] for r in report.checks if r.id == check and r.attempts), None)
    if attempt is None or not attempt.samples:
        return []
    try:
        return read_samples(folder, attempt.samples, attempt.sha256)
    except ConfigurationError:
        return []


def distribution(metric: str, loads: Sequence[Load]) -> Chart | None:
    """Return the empirical distributions of a metric; bands hold a whole curve in 95 % (Massart, 1990).

    A sample counts for what it is worth when neighbours depend on each other.
    """
    told = [(load.scenario, METRICS[metric].values(load.measured)) for load in loads]
    finite = [value for _, values in told for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return None
    scale, unit = scale_of(max(finite), "s")
    x, y = axis((value * scale for value in finite), zero=False), axis([1.0])
    series = []
    for scenario, found in told:
        half = math.sqrt(math.log(2 / 0.05) / 2 / effective_size(ranks(found))) if found else 1.0
        values = sorted(found)
        steps = [(x.at(v * scale), (i + 1) / len(values)) for i, v in enumerate(values) if math.isfinite(v)]
        kept = steps[:: max(1, len(steps) // MOST_POINTS)]
        upper = [(x, min(1.0, y + half)) for x, y in kept]
        lower = [(x, max(0.0, y - half)) for x, y in reversed(kept)]
        series.append(Series(label=scenario, line=tuple(kept), band=(*upper, *lower)))
    note = "Share of requests within a time; the band holds the whole curve in 95 %. A failure is never within."
    return Chart(
        title=DISTRIBUTIONS[metric], note=note, x=f"{METRICS[metric].title}, {unit}", y="share of requests",
        ticks_x=x.ticks, ticks_y=y.ticks, series=tuple(series),
    )  # fmt: skip


def _of_busiest(loads: Sequence[Load]) -> list[Chart]:
    """Return the pictures of the load of the highest rate; their titles say which it is."""
    if not loads:
        return []
    busiest = max(loads, key=lambda load: load.run.info.arrivals.rate)
    charts = run_charts(busiest.run)
    return [chart.model_copy(update={"title": f"{chart.title}, {busiest.scenario}"}) for chart in charts]


def _rate(title: str, loads: Sequence[Load]) -> Chart | None:
    points: dict[int, list[tuple[float, float, float, float]]] = {50: [], 90: []}
    for load in loads:
        values = METRICS["ttft"].values(load.measured)
        for percent, kept in points.items():
            found = percentile(values, percent) if values else None
            if found is not None and found.n_eff >= LEAST_SIZES[percent] and math.isfinite(found.value):
                low = found.low if math.isfinite(found.low) else found.value
                high = found.high if math.isfinite(found.high) else found.value
                kept.append((load.run.info.arrivals.rate, low, found.value, high))
    drawn = [each for kept in points.values() for each in kept]
    if len({each[0] for each in drawn}) < 2:
        return None
    scale, unit = scale_of(max(each[3] for each in drawn), "s")
    x, y = axis(each[0] for each in drawn), axis(each[3] * scale for each in drawn)
    return Chart(
        title=title,
        note="Percentiles of the time to first token of each load, with their 95 % interval.",
        x="offered requests/s",
        y=f"TTFT, {unit}",
        ticks_x=x.ticks,
        ticks_y=y.ticks,
        series=tuple(_with_band(f"TTFT p{percent}", kept, x, y, scale) for percent, kept in points.items() if kept),
    )


def _goodput(report: ConformanceReport) -> Chart | None:
    """Return the share of good requests at each rate that the search of TH2 offered."""
    result = next((r for r in report.checks if r.id == "TH2" and r.attempts), None)
    figures = [figure for figure in result.figures if figure.name.startswith(SHARE_AT)] if result else []
    last = {_rate_of(figure.name): figure for figure in figures}  # the last try of a step is the one that decided
    if len(last) < 2:
        return None
    kept = sorted((rate, figure.low or 0.0, figure.value, figure.high or 0.0) for rate, figure in last.items())
    x, y = axis(each[0] for each in kept), axis([1.0])
    return Chart(
        title="Good requests against the offered rate",
        note="Share of requests within every objective at each step of the search, with the interval that decided it.",
        x="offered requests/s",
        y="share of requests",
        ticks_x=x.ticks,
        ticks_y=y.ticks,
        series=(_with_band("good requests", kept, x, y),),
    )


def _rate_of(name: str) -> float:
    return float(name.removeprefix(SHARE_AT).partition("/")[0])


def _with_band(
    label: str, kept: Sequence[tuple[float, float, float, float]], x: Axis, y: Axis, scale: float = 1.0
) -> Series:
    lower, line, upper = (
        [(x.at(each[0]), y.at(each[place] * scale)) for each in kept] for place in (1, 2, 3)
    )  # fmt: skip
    return Series(label=label, line=tuple(line), band=(*upper, *reversed(lower)))


def _memory(rows: Sequence[Row]) -> Chart | None:
    trend = memory_trend(rows)
    if trend is None:
        return None
    start, end = trend.looks[0][0], trend.looks[-1][0]
    x, y = axis([end - start]), axis((size for _, size in trend.looks), zero=False)
    looks = [(x.at(at - start), y.at(size)) for at, size in trend.looks]
    ends = [
        (x.at(at - start), y.at(trend.base + trend.slope * at / HOUR)) for at in (trend.settled[0][0], end)
    ]  # fmt: skip
    return Chart(
        title="Resident memory during the soak",
        note=f"Each look, and the line of Theil and Sen once settled: {number(trend.slope)} MiB an hour.",
        x="seconds",
        y="MiB",
        ticks_x=x.ticks,
        ticks_y=y.ticks,
        series=(
            Series(label="resident", line=tuple(looks)),
            Series(label="slope", line=tuple(ends), form="dotted"),
        ),
    )


def _soaked(loads: Sequence[Load]) -> Chart | None:
    load = next((each for each in loads if each.scenario == "soak"), None)
    told = (
        [
            (row.intended_ns / 1e9, (row.end_ns - row.intended_ns) / 1e9)
            for row in sorted(load.measured, key=lambda row: row.intended_ns)
        ]
        if load
        else []
    )
    if len(told) < 2:
        return None
    scale, unit = scale_of(max(value for _, value in told), "s")
    x, y = axis(at for at, _ in told), axis(value * scale for _, value in told)
    line = tuple((x.at(at), y.at(value * scale)) for at, value in highest(told))
    return Chart(
        title="Latency during the soak",
        note="End-to-end latency of requests in the order in which they were sent; of many the slowest each.",
        x="seconds since the start",
        y=f"end-to-end latency, {unit}",
        ticks_x=x.ticks,
        ticks_y=y.ticks,
        series=(Series(label="request", line=line),),
    )
