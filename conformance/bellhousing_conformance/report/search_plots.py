"""The pictures of a search for the goodput: its loads in order, and what share of each rate was good."""

from collections.abc import Sequence

from bellhousing_conformance.goodput import Outcome, Try
from bellhousing_conformance.report.charts import Axis, Chart, Series, axis
from bellhousing_conformance.report.search import Goodput

OUTCOMES: tuple[Outcome, ...] = ("holds", "misses", "undecided")
"""Always in this order, so that each keeps its look."""


def charts(found: Goodput) -> list[Chart]:
    """Return the pictures; none of a search without a load."""
    return [_steps(found), _shares(found)] if found.tries else []


def _steps(found: Goodput) -> Chart:
    x, y = axis([len(found.tries)]), axis(each.rate for each in found.tries)
    dots = [(each.outcome, (x.at(number), y.at(each.rate))) for number, each in enumerate(found.tries, 1)]
    series = [
        Series(label=word, line=tuple(dot for outcome, dot in dots if outcome == word), form="dots")
        for word in OUTCOMES
    ]  # fmt: skip
    return Chart(
        title="The search, load by load",
        note="Offered rate of each load, in order: it rises while loads hold, falls while they miss, and then halves "
        "what is between.",
        x="load",
        y="offered requests/s",
        ticks_x=x.ticks,
        ticks_y=y.ticks,
        series=(*series, Series(label="order", line=tuple(dot for _, dot in dots), form="dotted")),
    )


def _shares(found: Goodput) -> Chart:
    x, y = axis(each.rate for each in found.tries), axis([1.0])
    share = found.asked.slo.least_attainment
    least = y.at(share)
    return Chart(
        title="Good requests against the offered rate",
        note="Share of requests within every objective, with the interval that decides: a load holds when all of it is "
        "above the dotted line, and misses when all of it is below.",
        x="offered requests/s",
        y="share of requests",
        ticks_x=x.ticks,
        ticks_y=y.ticks,
        series=(
            *(_with_intervals(word, found.tries, x, y) for word in OUTCOMES),
            Series(label=f"least share, {share:g}", line=((0.0, least), (1.0, least)), form="dotted"),
        ),
    )


def _with_intervals(outcome: Outcome, tries: Sequence[Try], x: Axis, y: Axis) -> Series:
    kept = [each for each in tries if each.outcome == outcome]
    return Series(
        label=outcome,
        line=tuple((x.at(each.rate), y.at(each.share)) for each in kept),
        ranges=tuple((x.at(each.rate), y.at(each.low), y.at(each.high)) for each in kept),
        form="dots",
    )
