"""Paired figures: medians with order-statistic intervals, and the table they go into."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import psutil


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure beside its bound, "" without one: `value` with its 95 % interval over `runs` pairs."""

    name: str
    value: float
    low: float
    high: float
    runs: int
    bound: str
    is_met: bool
    unit: str = ""


def figure(
    name: str, values: Sequence[float], *, at_least: float | None = None, at_most: float | None = None, unit: str = ""
) -> Figure:
    """Return the median of paired values with its interval, held against a bound."""
    median = statistics.median(values)
    low, high = median_interval(values)
    is_met = (at_least is None or median >= at_least) and (at_most is None or median <= at_most)
    bound = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}" if at_most is not None else ""
    return Figure(name, median, low, high, len(values), bound, is_met, unit)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics that enclose the median with at least 95 % (binomial); all of them for few values."""
    ordered = sorted(values)
    count = len(ordered)
    tail, probability = 0, 0.5**count
    while tail + 1 < count / 2 and probability <= 0.025:
        tail += 1
        probability += _binomial(count, tail) * 0.5**count
    rank = max(0, tail - 1) if tail else 0
    return ordered[rank], ordered[count - 1 - rank]


def _binomial(n: int, k: int) -> int:
    result = 1
    for step in range(k):
        result = result * (n - step) // (step + 1)
    return result


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| figure | median | 95 % interval | runs | bound | met |", "|---|---|---|---|---|---|"]
    for f in figures:
        bound, met = (f"{f.bound}{f.unit}", "yes" if f.is_met else "**no**") if f.bound else ("", "")
        rows.append(f"| {f.name} | {f.value:.3g}{f.unit} | {f.low:.3g} to {f.high:.3g} | {f.runs} | {bound} | {met} |")
    return "\n".join(rows)


def machine() -> str:
    """Return a line about the machine and the versions that matter."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} processors, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()},"
        f" grpcio {version('grpcio')}, protobuf {version('protobuf')}"
    )
