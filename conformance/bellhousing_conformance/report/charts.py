"""What a picture is: axes with round marks, and what is drawn between them. `plots.html.j2` draws it as inline SVG.

Coordinates are shares of the axes, from the left and from below.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bellhousing_conformance.verdict import Frozen

FEW_TICKS = 5
MOST_POINTS = 200
"""Of a curve: more cannot be seen."""

Points = tuple[tuple[float, float], ...]


class Tick(Frozen):
    """A mark of an axis."""

    at: float
    text: str


class Series(Frozen):
    """A line through points, or dots at them.

    `band` is the outline of its interval; `ranges` are intervals of single points, as place, low and high.
    """

    label: str
    line: Points
    band: Points = ()
    ranges: tuple[tuple[float, float, float], ...] = ()
    form: Literal["line", "dotted", "dots"] = "line"


class Chart(Frozen):
    """A picture. `x` and `y` name the axes with their units; `window` is the part of `x` that is measured, or none."""

    title: str
    note: str
    x: str
    y: str
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    series: tuple[Series, ...]
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`, which are round numbers."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Return where a value is, as a share of the axis; what is beyond it is at its end."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def axis(values: Iterable[float], *, zero: bool = True) -> Axis:
    """Return the axis that has all values, and unless told otherwise 0; its ends and its few marks are round.

    Raises `ValueError` for no values and for one that is not finite.
    """
    told = [*values, *([0.0] if zero else [])]
    if not all(map(math.isfinite, told)):
        raise ValueError(f"expected finite values, found {told}")
    low, high = min(told), max(told)
    if low == high:
        high += abs(high) or 1.0
    step = _round_step((high - low) / FEW_TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = range(first, last + 1)
    ticks = tuple(Tick(at=(mark - first) / (last - first), text=f"{mark * step:.{decimals}f}") for mark in marks)
    return Axis(first * step, last * step, ticks)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= rough * (1 - 1e-9))


def scale_of(most: float, unit: str) -> tuple[float, str]:
    """Return the factor and the unit in which times below a second are told: milliseconds."""
    return (1000.0, "ms") if unit == "s" and most < 1 else (1.0, unit)


def highest(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return so many points at most, in the order given: of each stretch of neighbours the highest."""
    step = math.ceil(len(points) / most) or 1
    return [max(points[start : start + step], key=lambda point: point[1]) for start in range(0, len(points), step)]
