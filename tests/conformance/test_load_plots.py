"""The pictures of loads and soaks follow from the samples of a report."""

import math
from pathlib import Path

import pytest

from bellhousing_conformance.checks.soak import k01_memory
from bellhousing_conformance.report.html import html
from bellhousing_conformance.report.load_plots import charts
from bellhousing_conformance.report.model import Attempt, ConformanceReport, Result
from bellhousing_conformance.report.reading import number
from bellhousing_conformance.report.samples import write_samples
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status
from tests.conformance.load.rows import perfect
from tests.conformance.test_estimates import noted, soaked
from tests.conformance.test_pages import report_of


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
