"""The geometry of the pictures of a report; the templates draw them as inline SVG, so that a page needs no script."""

import math
from collections import Counter
from collections.abc import Iterable

from bellhousing_conformance.agreement import PARTS_AT
from bellhousing_conformance.report.model import Result
from bellhousing_conformance.report.reading import TONES, Tone, duration
from bellhousing_conformance.verdict import Frozen

LONGEST_SHOWN = 15
BIN_TOKENS = 4
LEAST_P_VALUES = 5
P_FLOOR = 1e-6
"""Smaller p-values are drawn at this one."""


class Bar(Frozen):
    """A bar: `share` of the width, `value` as text."""

    label: str
    value: str
    share: float
    tone: Tone = "note"


class QuantilePoint(Frozen):
    """A p-value against its expected order statistic, as shares of the axes; `low` and `high` hold 95 % of it."""

    label: str
    expected: float
    found: float
    low: float
    high: float


class Quantiles(Frozen):
    """A quantile plot of p-values; both axes go from 0 to `most`, in -log10."""

    points: tuple[QuantilePoint, ...]
    most: float


class Range(Frozen):
    """A value with its interval and its limit, as shares of a logarithmic axis; `text` has the numbers."""

    label: str
    text: str
    low: float
    value: float
    high: float
    limit: float
    tone: Tone


def durations(results: Iterable[Result]) -> list[Bar]:
    """Return the checks that took longest, as shares of the longest."""
    longest = sorted([r for r in results if r.seconds > 0], key=lambda r: -r.seconds)[:LONGEST_SHOWN]
    return [
        Bar(label=r.id, value=duration(r.seconds), share=r.seconds / longest[0].seconds, tone=TONES[r.status])
        for r in longest
    ]


def quantiles(results: Iterable[Result]) -> Quantiles | None:
    """Return the p-values of all first attempts against those of a uniform law; None when they are too few to tell.

    Second attempts follow a rejection, so that theirs are not comparable. The i-th smallest of n has the law
    Beta(i, n + 1 - i).
    """
    from scipy.stats import beta

    told = sorted([found for result in results for found in _p_values(result)])
    n = len(told)
    if n < LEAST_P_VALUES:
        return None
    bounds = [[float(beta.ppf(q, place, n + 1 - place)) for q in (0.975, 0.025)] for place in range(1, n + 1)]
    most = max(_height(told[0][0]), _height(bounds[0][1]), 1.0)
    points = [
        QuantilePoint(
            label=f"{label}: {value:.3g}",
            expected=_height(place / (n + 1)) / most,
            found=_height(value) / most,
            low=_height(low) / most,
            high=_height(high) / most,
        )
        for place, ((value, label), (low, high)) in enumerate(zip(told, bounds, strict=True), 1)
    ]
    return Quantiles(points=tuple(points), most=most)


def first_differences(results: Iterable[Result]) -> list[Bar]:
    """Return at which token compared outputs part, in bins of `BIN_TOKENS`, as shares of the fullest bin."""
    places = [int(figure.value) for result in results for figure in result.figures if figure.name == PARTS_AT]
    counts = Counter((place - 1) // BIN_TOKENS for place in places)
    most = max(counts.values(), default=0)
    return [
        Bar(
            label=f"{number * BIN_TOKENS + 1} to {(number + 1) * BIN_TOKENS}",
            value=str(counts[number]),
            share=counts[number] / most,
        )
        for number in range(max(counts, default=-1) + 1)
    ]


def divergences(results: Iterable[Result]) -> list[Range]:
    """Return every distance in nats that has a bound, on one logarithmic axis."""
    told = [found for result in results for found in _bounded(result)]
    values = [value for _, parts in told for value in parts if value > 0]
    if not values:
        return []
    least, most = math.log10(min(values)) - 0.3, math.log10(max(values)) + 0.3

    def at(value: float) -> float:
        return (math.log10(value) - least) / (most - least) if value > 0 else 0.0

    return [
        Range(
            label=result.id, low=at(low), value=at(value), high=at(high), limit=at(limit), tone=TONES[result.status],
            text=f"{value:.2g} [{low:.2g}, {high:.2g}], bound {limit:.2g}",
        )
        for result, (low, value, high, limit) in told
    ]  # fmt: skip


def _bounded(result: Result) -> list[tuple[Result, tuple[float, float, float, float]]]:
    limit = next((figure.value for figure in result.figures if figure.name == "bound in nats"), None)
    if limit is None:
        return []
    return [
        (result, (f.value if f.low is None else f.low, f.value, f.value if f.high is None else f.high, limit))
        for f in result.figures
        if f.name.endswith("in nats") and f.name != "bound in nats"
    ]


def _p_values(result: Result) -> list[tuple[float, str]]:
    first = result.attempts[0].judgement.figures if result.attempts else ()
    return [(f.value, f"{result.id} {f.name}") for f in first if f.name in ("p", "p_value") or f.name.endswith(" p")]


def _height(p_value: float) -> float:
    return -math.log10(max(p_value, P_FLOOR)) + 0.0
