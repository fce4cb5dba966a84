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
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.reading import number
from bellhousing_conformance.report.samples import read_samples
from bellhousing_conformance.soak import HOUR, memory_trend
from bellhousing_conformance.stats import effective_size
from bellhousing_conformance.verdict import Frozen, Row

MOST_POINTS = 200
SHARE_AT = "share at "
"""How figures of TH2 begin, before the rate."""

Points = tuple[tuple[float, float], ...]


class Series(Frozen):
    """A line through points, which are shares of the axes; `band` is the outline of its interval."""

    label: str
    line: Points
    band: Points = ()
    is_dotted: bool = False


class Chart(Frozen):
    """A picture. `x` and `y` name the axes, `ticks_*` are their ends in words."""

    title: str
    note: str
    x: str
    y: str
    ticks_x: tuple[str, str]
    ticks_y: tuple[str, str]
    series: tuple[Series, ...]


def charts(report: ConformanceReport, folder: Path) -> list[Chart]:
    """Return the pictures that the samples of a report have something for."""
    rows = {check: _rows(report, folder, check) for check in ("LT2", "LT4", "TH2", "K01", "K02")}
    loads = {check: [load for load in loads_of(rows[check]) if load.scenario != "capacity"] for check in rows}
    found = [
        _distribution("Time to first token", "ttft", loads["LT2"]),
        _distribution("End-to-end latency", "e2el", loads["LT2"]),
        _distribution("Longest stall of each stream", "max_stall", loads["LT4"]),
        _rate("Latency against the offered rate", loads["LT2"]),
        _goodput(report),
        _memory(rows["K01"]),
        _soaked(loads["K02"]),
    ]
    return [chart for chart in found if chart is not None]


def _rows(report: ConformanceReport, folder: Path, check: str) -> list[Row]:
    attempt = next((r.attempts[-1] for r in report.checks if r.id == check and r.attempts), None)
    if attempt is None or not attempt.samples:
        return []
    try:
        return read_samples(folder, attempt.samples, attempt.sha256)
    except ConfigurationError:
        return []


def _distribution(title: str, metric: str, loads: Sequence[Load]) -> Chart | None:
    """Return the empirical distributions of a metric; bands hold a whole curve in 95 % (Massart, 1990).

    A sample counts for what it is worth when neighbours depend on each other.
    """
    told = [(load.scenario, METRICS[metric].values(load.measured)) for load in loads]
    finite = [value for _, values in told for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return None
    low, high = min(finite), max(finite)
    series = []
    for scenario, found in told:
        half = math.sqrt(math.log(2 / 0.05) / 2 / effective_size(ranks(found))) if found else 1.0
        values = sorted(found)
        steps = [(_share(v, low, high), (i + 1) / len(values)) for i, v in enumerate(values) if math.isfinite(v)]
        kept = steps[:: max(1, len(steps) // MOST_POINTS)]
        upper = [(x, min(1.0, y + half)) for x, y in kept]
        lower = [(x, max(0.0, y - half)) for x, y in reversed(kept)]
        series.append(Series(label=scenario, line=tuple(kept), band=(*upper, *lower)))
    note = "Share of requests within a time; the band holds the whole curve in 95 %. Failures are never within."
    ends = (_seconds(low), _seconds(high))
    return Chart(title=title, note=note, x="seconds", y="share", ticks_x=ends, ticks_y=("0", "1"), series=tuple(series))


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
    most, rates = max(each[3] for each in drawn), [each[0] for each in drawn]
    series = [_with_band(f"TTFT p{percent}", kept, max(rates), most) for percent, kept in points.items() if kept]
    note = "Percentiles of the time to first token of each load, with their 95 % interval."
    return Chart(
        title=title,
        note=note,
        x="offered requests/s",
        y="seconds",
        ticks_x=("0", number(max(rates))),
        ticks_y=("0", _seconds(most)),
        series=tuple(series),
    )


def _goodput(report: ConformanceReport) -> Chart | None:
    """Return the share of good requests at each rate that the search of TH2 offered."""
    result = next((r for r in report.checks if r.id == "TH2" and r.attempts), None)
    figures = [figure for figure in result.figures if figure.name.startswith(SHARE_AT)] if result else []
    last = {_rate_of(figure.name): figure for figure in figures}  # the last try of a step is the one that decided
    if len(last) < 2:
        return None
    kept = sorted((rate, figure.low or 0.0, figure.value, figure.high or 0.0) for rate, figure in last.items())
    most = kept[-1][0]
    return Chart(
        title="Good requests against the offered rate",
        note="Share of requests within every objective at each step of the search, with the interval that decided it.",
        x="offered requests/s",
        y="share",
        ticks_x=("0", number(most)),
        ticks_y=("0", "1"),
        series=(_with_band("good requests", kept, most, 1.0),),
    )


def _rate_of(name: str) -> float:
    return float(name.removeprefix(SHARE_AT).partition("/")[0])


def _with_band(label: str, kept: list[tuple[float, float, float, float]], x: float, y: float) -> Series:
    upper = [(at / x, high / y) for at, _, _, high in kept]
    lower = [(at / x, low / y) for at, low, _, _ in reversed(kept)]
    return Series(label=label, line=tuple((at / x, value / y) for at, _, value, _ in kept), band=(*upper, *lower))


def _memory(rows: Sequence[Row]) -> Chart | None:
    trend = memory_trend(rows)
    if trend is None:
        return None
    (start, _), (end, _) = trend.looks[0], trend.looks[-1]
    low, high = min(size for _, size in trend.looks), max(size for _, size in trend.looks)
    looks = [(_share(at, start, end), _share(size, low, high)) for at, size in trend.looks]
    line = [(at, trend.base + trend.slope * at / HOUR) for at in (trend.settled[0][0], end)]
    ends = [(_share(at, start, end), min(1.0, max(0.0, _share(size, low, high)))) for at, size in line]
    return Chart(
        title="Resident memory during the soak",
        note=f"Each look, and the line of Theil and Sen once settled: {number(trend.slope)} MiB an hour.",
        x="seconds",
        y="MiB",
        ticks_x=("0", number(round(end - start))),
        ticks_y=(number(low), number(high)),
        series=(Series(label="resident", line=tuple(looks)), Series(label="slope", line=tuple(ends), is_dotted=True)),
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
    most, end = max(value for _, value in told), told[-1][0]
    kept = told[:: max(1, len(told) // MOST_POINTS)]
    line = tuple((_share(at, 0, end), value / most if most else 0.0) for at, value in kept)
    return Chart(
        title="Latency during the soak",
        note="End-to-end latency of requests in the order in which they were sent.",
        x="seconds",
        y="seconds",
        ticks_x=("0", number(round(end))),
        ticks_y=("0", _seconds(most)),
        series=(Series(label="request", line=line),),
    )


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _seconds(value: float) -> str:
    return f"{value:.3g}"
