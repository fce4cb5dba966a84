"""Objectives: what a file may say, and what an estimate makes of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import Sent
from bellhousing_conformance.slo import Objective, Slo, judged_attainment, judged_floor, judged_objective, load_slo
from bellhousing_conformance.verdict import Figure, Status
from tests.conformance.load.rows import perfect

TTFT = Objective(metric="ttft", percentile=50, limit=200, unit="ms")


def rows() -> list[Sent]:
    """About 300 requests whose first token comes after 150 ms, and later for those that wait."""
    return list(perfect().rows)


def load(folder: Path, text: str) -> Slo:
    file = folder / "slo.toml"
    file.write_text(text, encoding="utf-8")
    return load_slo(file)


def test_a_file_has_objectives_with_units_and_the_least_share(tmp_path: Path) -> None:
    text = 'attainment = 0.95\n[[objective]]\nmetric = "ttft"\npercentile = 90\nlimit = 500\nunit = "ms"\n'
    slo = load(tmp_path, text)
    assert (slo.limits, slo.least_attainment) == ({"ttft": 0.5}, 0.95)
    assert slo.objective[0].name == "TTFT p90"


def test_without_a_share_the_largest_percentile_is_the_least_share() -> None:
    assert Slo(objective=(TTFT, Objective(metric="tpot", percentile=95, limit=1))).least_attainment == 0.95


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ('metric = "tft"', "no metric is named 'tft'; did you mean 'ttft'"),
        ('metric = "send_delay"', "no metric is named 'send_delay'"),
        ("percentile = 98", "no percentile 98 is estimated; did you mean 99"),
        ('unit = "msec"', "no unit is named 'msec'; did you mean 'ms'"),
        ("limit = -1", "greater than 0"),
        ("limt = 1", "did you mean 'limit'"),
    ],
)
def test_what_is_unknown_is_refused_by_name_with_what_is_near(tmp_path: Path, changed: str, expected: str) -> None:
    known = {"metric": 'metric = "ttft"', "percentile": "percentile = 90", "limit": "limit = 1", "unit": 'unit = "s"'}
    lines = "\n".join({**known, changed.partition(" ")[0]: changed}.values())
    with pytest.raises(ConfigurationError, match=expected):
        load(tmp_path, f"[[objective]]\n{lines}\n")


def test_a_file_that_declares_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected at least one objective"):
        load(tmp_path, "")
    with pytest.raises(ConfigurationError, match="what is good"):
        load(tmp_path, "goodput = 3\n")


@pytest.mark.parametrize(("limit", "status"), [(1.0, Status.PASS), (0.1, Status.FAIL)])
def test_an_interval_on_one_side_of_the_limit_decides(limit: float, status: Status) -> None:
    assert judged_objective(Objective(metric="ttft", percentile=50, limit=limit), rows(), 60).status is status


def test_an_interval_with_the_limit_inside_decides_nothing() -> None:
    spread = [replace(row, intended_ns=row.intended_ns - (row.index * 37 % 100) * 10**7) for row in rows()]
    objective = Objective(metric="ttft", percentile=50, limit=0.65)
    assert judged_objective(objective, spread, 60).status is Status.INCONCLUSIVE


def test_a_sample_too_small_for_the_percentile_decides_nothing() -> None:
    found = judged_objective(Objective(metric="ttft", percentile=99, limit=0.001), rows()[:100], 60)
    assert found.status is Status.INCONCLUSIVE
    assert "not printed" in found.problems[0]


def test_a_failed_request_is_bad_however_soon_it_failed() -> None:
    slo = Slo(objective=(Objective(metric="ttft", percentile=50, limit=10),), attainment=0.9)
    assert judged_attainment(slo, rows()).status is Status.PASS
    failing = [replace(row, code="INTERNAL") if row.index % 3 == 0 else row for row in rows()]
    found = judged_attainment(slo, failing)
    assert (found.status, round(found.figure("share of good requests"), 2)) == (Status.FAIL, 0.67)


def test_few_requests_do_not_decide_a_share() -> None:
    slo = Slo(objective=(Objective(metric="ttft", percentile=50, limit=10),), attainment=0.95)
    assert judged_attainment(slo, rows()[:20]).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(("least", "status"), [(4.0, Status.PASS), (5.0, Status.INCONCLUSIVE), (7.0, Status.FAIL)])
def test_a_floor_is_decided_by_the_whole_interval(least: float, status: Status) -> None:
    assert judged_floor("x", Figure(name="x", value=5, low=4.5, high=6), least).status is status


@pytest.mark.parametrize(("least", "status"), [(4.0, Status.PASS), (7.0, Status.INCONCLUSIVE)])
def test_a_figure_without_an_upper_bound_never_fails_a_floor(least: float, status: Status) -> None:
    assert judged_floor("goodput", Figure(name="goodput", value=5, low=4.5), least).status is status
