"""The geometry of the pictures."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from bellhousing_conformance.compare import pictures
from bellhousing_conformance.compare.blocks import read_blocks
from bellhousing_conformance.compare.comparison import Comparison, comparison_of
from tests.conformance.compare.folders import compared


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    compared(tmp_path, {"a": 1.3, "b": 1, "again": 1.3})
    return comparison_of(tmp_path)


def test_a_forest_has_larger_ratios_to_the_right_and_the_floor_around_one(found: Comparison) -> None:
    forest = pictures.forest(found)
    assert forest is not None
    rows = {row.title: row for row in forest.rows}
    assert rows["TTFT p50"].low < rows["TTFT p50"].value < rows["TTFT p50"].high
    assert rows["throughput"].value < forest.one < rows["TTFT p50"].value
    assert all(row.band_low < forest.one < row.band_high for row in forest.rows)
    assert "1" in {tick.text for tick in forest.ticks}


def test_a_distribution_rises_from_0_to_1_and_to_less_where_requests_failed(found: Comparison, tmp_path: Path) -> None:
    blocks = read_blocks(tmp_path)
    ttft, _ = pictures.distributions(blocks)
    for curve in ttft.curves:
        assert curve.points[0][1] == 0.0
        assert curve.points[-1][1] == 1.0
        assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(curve.points))
    for row in blocks[0].open_rows:
        object.__setattr__(row, "code", "UNAVAILABLE")
    failing = next(c for c in pictures.distributions(blocks)[0].curves if c.arm == blocks[0].record.arm)
    assert failing.points[-1][1] < 1.0


def test_a_timeline_has_a_dot_of_each_block_in_the_order_of_measuring(found: Comparison) -> None:
    timeline = pictures.timelines(found)[0]
    assert len(timeline.dots) == len(found.blocks)
    assert [dot.at for dot in timeline.dots] == sorted(dot.at for dot in timeline.dots)
    assert timeline.unit == "ms"


@pytest.mark.parametrize(("least", "most", "texts"), [
    (0.1, 0.14, ["100", "110", "120", "130", "140"]),
    (0.02, 0.02031, ["20.0", "20.1", "20.2", "20.3"]),
    (0.01, 1.2, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]),
])  # fmt: skip
def test_marks_of_an_axis_are_round_and_few(least: float, most: float, texts: list[str]) -> None:
    ticks = list(pictures._ticks(least, most, lambda value: math.log(value / least) / math.log(most / least), "s"))
    assert [tick.text for tick in ticks] == texts


def test_times_below_a_second_are_told_in_milliseconds() -> None:
    assert pictures.quantity(0.0123, "s") == "12.3 ms"
    assert pictures.quantity(1.5, "s") == "1.5 s"
    assert pictures.quantity(0.5, "tokens/s") == "0.5 tokens/s"


def test_the_noise_of_the_host_has_what_each_block_tells_and_nothing_where_the_system_is_silent(
    found: Comparison,
) -> None:
    assert pictures.host(found) == []
    told = [each.model_copy(update={"steal": 0.01 * place}) for place, each in enumerate(found.blocks)]
    [chart] = pictures.host(found.model_copy(update={"blocks": tuple(told)}))
    steal, limit = chart.series
    assert (steal.label, len(steal.line)) == ("steal", len(told))
    assert [y > limit.line[0][1] for _, y in steal.line[:4]] == [False, False, False, True]
