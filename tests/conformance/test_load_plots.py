"""The pictures of loads and soaks follow from the samples of a report."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bellhousing_conformance.checks.soak import k01_memory
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.record import Arrivals, Sent
from bellhousing_conformance.report.charts import Series, axis
from bellhousing_conformance.report.html import html
from bellhousing_conformance.report.load_plots import charts
from bellhousing_conformance.report.model import Attempt, ConformanceReport, Result
from bellhousing_conformance.report.reading import number
from bellhousing_conformance.report.run_charts import run_charts
from bellhousing_conformance.report.samples import write_samples
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status
from tests.conformance.load.rows import perfect
from tests.conformance.test_estimates import noted, soaked
from tests.conformance.test_pages import report_of

TIMELINES = (
    "Time to first token over the run", "Gaps between messages over the run", "Sent after intended",
    "Noise of the sender's host",
)  # fmt: skip
ARRIVALS = ("Gaps between arrivals against their law", "Each gap beside the next")


def measured(folder: Path, check: str, rows: Rows, *figures: Figure) -> Result:
    """Return the result of a check whose samples are in a folder."""
    name, digest = write_samples(folder, check, rows)
    judgement = Judgement(status=Status.MEASURED, figures=figures)
    attempt = Attempt(number=1, judgement=judgement, samples=name, sha256=digest)
    return Result(
        id=check, title="t", profile="latency", requirement="MUST", clause="bellhousing.v1.Timeline", statistic="s",
        finds="f", status=Status.MEASURED, attempts=(attempt,),
    )  # fmt: skip


def report(folder: Path) -> ConformanceReport:
    steps = (Figure(name=f"share at {rate}/s: {word}", value=value, low=0.1, high=1.0) for rate, word, value in (
        (4, "holds", 1.0), (6.4, "undecided", 0.8), (6.4, "misses", 0.5),
    ))  # fmt: skip
    return report_of(
        measured(folder, "LT2", [*noted(perfect(), "0.3 of capacity"), *noted(perfect(seed=8), "0.6 of capacity")]),
        measured(folder, "TH2", [], *steps),
        measured(folder, "K01", soaked(1e6)),
    )


def test_each_kind_of_sample_has_its_picture(tmp_path: Path) -> None:
    found = {chart.title: chart for chart in charts(report(tmp_path), tmp_path)}
    assert list(found) == [
        "Time to first token",
        "End-to-end latency",
        *(f"{title}, 0.3 of capacity" for title in (*TIMELINES, *ARRIVALS)),
        "Good requests against the offered rate",
        "Resident memory during the soak",
    ]
    assert [series.label for series in found["Time to first token"].series] == ["0.3 of capacity", "0.6 of capacity"]
    assert len(found["Good requests against the offered rate"].series[0].line) == 2


def test_every_point_lies_within_its_axes(tmp_path: Path) -> None:
    points = [
        each
        for chart in charts(report(tmp_path), tmp_path)
        for series in chart.series
        for each in (*series.line, *series.band)
    ]
    assert points
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)


def series(run: Run, title: str, label: str) -> Series:
    """Return a series of a picture of a run."""
    chart = next(chart for chart in run_charts(run) if chart.title == title)
    return next(each for each in chart.series if each.label == label)


def of_request(run: Run, place: int, **told: Any) -> Run:
    """Return a run whose request of a place is otherwise."""
    rows = list(run.rows)
    rows[place] = replace(rows[place], **told)
    return replace(run, rows=rows)


def test_a_request_that_was_sent_late_stands_out_of_the_send_delays() -> None:
    run = perfect()
    late = of_request(run, 50, sent_ns=run.rows[50].intended_ns + 90_000_000)
    line = series(late, "Sent after intended", "request").line
    assert max(y for _, y in line) == pytest.approx(0.9)  # of an axis that ends at 100 ms
    assert sum(y > 0 for _, y in line) == 1


def test_a_stall_is_a_peak_of_the_gaps_and_no_peak_of_their_median() -> None:
    run = perfect()
    first, (gap, tokens), *others = run.rows[50].gaps
    stalled = of_request(run, 50, gaps=(first, (gap + 500_000_000, tokens), *others))
    longest, middle = (
        series(stalled, "Gaps between messages over the run", name).line for name in ("longest", "median")
    )
    assert max(y for _, y in longest) > 5 * max(y for _, y in middle)


def test_a_target_that_becomes_slow_is_seen_in_the_medians_of_ten() -> None:
    run = perfect(seconds=30)
    half = len(run.rows) // 2
    slow = [*run.rows[:half], *(shifted_answer(row, 200_000_000) for row in run.rows[half:])]
    line = series(replace(run, rows=slow), "Time to first token over the run", "median of ten").line
    assert line[-1][1] > line[0][1] + 0.1


def shifted_answer(row: Sent, by_ns: int) -> Sent:
    """Return a row whose first message came later, and all after it too."""
    (first, tokens), *others = row.gaps
    return replace(row, first_ns=(row.first_ns or 0) + by_ns, gaps=((first + by_ns, tokens), *others))


@pytest.mark.parametrize("law", ["Poisson", "bursty"])
def test_arrivals_of_the_stated_law_lie_within_the_band_of_their_quantiles(law: str) -> None:
    told = series(perfect(law), "Gaps between arrivals against their law", "gap")
    count = len(told.line)
    upper, lower = told.band[:count], told.band[count:][::-1]
    inside = [low[1] <= y <= high[1] for (_, y), low, high in zip(told.line, lower, upper, strict=True)]
    assert sum(inside) > 0.9 * count


def test_even_arrivals_leave_the_band_of_a_poisson_process() -> None:
    run = perfect()
    step = round(60e9 / len(run.rows))
    even = [replace(row, sent_ns=place * step) for place, row in enumerate(run.rows)]
    told = series(replace(run, rows=even), "Gaps between arrivals against their law", "gap")
    count = len(told.line)
    outside = [y > high for (_, y), (_, high) in zip(told.line, told.band[:count], strict=True)]
    assert sum(outside) > 0.3 * count


def test_a_closed_loop_has_no_pictures_of_arrivals() -> None:
    run = perfect()
    closed = replace(run, info=replace(run.info, arrivals=Arrivals("closed", 0, concurrency=2)))
    assert {chart.title for chart in run_charts(closed)} == {*TIMELINES} - {"Sent after intended"}


@pytest.mark.parametrize(("values", "texts"), [
    ([3.0, 47.0], ["0", "10", "20", "30", "40", "50"]),
    ([0.021], ["0.000", "0.005", "0.010", "0.015", "0.020", "0.025"]),
    ([0.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
])  # fmt: skip
def test_an_axis_has_few_round_marks_at_its_ends_too(values: list[float], texts: list[str]) -> None:
    assert [tick.text for tick in axis(values).ticks] == texts
    assert (axis(values).ticks[0].at, axis(values).ticks[-1].at) == (0.0, 1.0)


def test_the_band_of_a_busy_target_is_that_of_what_its_sample_is_worth(tmp_path: Path) -> None:
    run = perfect("bursty", seconds=240)
    result = measured(tmp_path, "LT2", noted(run, "bursts"))
    series = charts(report_of(result), tmp_path)[0].series[0]
    half = series.band[0][1] - series.line[0][1]
    assert half > 1.5 * math.sqrt(math.log(40) / 2 / len(run.measured))


def test_samples_that_are_not_those_of_the_report_are_not_drawn(tmp_path: Path) -> None:
    told = report(tmp_path)
    write_samples(tmp_path, "K01", soaked(0))
    assert "Resident memory during the soak" not in [chart.title for chart in charts(told, tmp_path)]


def test_a_page_has_the_pictures_and_calls_what_was_measured_so(tmp_path: Path) -> None:
    page = html(report(tmp_path), tmp_path)
    assert "MEASURED" in page
    assert 'aria-label="Time to first token: 0.3 of capacity, 0.6 of capacity"' in page


def test_the_picture_of_memory_has_the_slope_that_is_judged(tmp_path: Path) -> None:
    warming = [dict(row) for row in soaked(2**20)]
    for row in warming[1:20]:
        row["rss"] += 2**30
    [chart] = charts(report_of(measured(tmp_path, "K01", warming)), tmp_path)
    [slope] = [figure for figure in k01_memory.judge(warming, 0.01).figures if figure.name == "growth, MiB an hour"]
    assert slope.value == pytest.approx(1, rel=0.01)
    assert f"once settled: {number(slope.value)} MiB an hour" in chart.note
