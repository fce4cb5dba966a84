"""A report is borne out by its samples, and shows when it is not."""

import json
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.testing import serving
from bellhousing_conformance.calls import Address
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.report.comparison import changes, matrix
from bellhousing_conformance.report.samples import as_recorded, read_samples, write_samples
from bellhousing_conformance.report.verify import disagreements
from bellhousing_conformance.report.writers import WRITERS, read_report, write_report
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target

CHECKS = {check.id: check for check in catalogue()}


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """The folder of a written report."""
    async with serving("simulator") as served:
        plan = Plan(selected("standard", "", ("C03", "P02")), "smoke", 1)
        write_report(await run(Target(Address(served.address)), plan, tmp_path), tmp_path)
    return tmp_path


async def test_a_report_is_borne_out_by_its_samples(folder: Path) -> None:
    assert disagreements(*read_report(folder), CHECKS) == []


def test_what_is_judged_is_what_a_reader_of_the_file_gets_down_to_the_order_of_keys(tmp_path: Path) -> None:
    rows = [{"kind": "place", "told": {"8": -0.75, "10": -0.5, 7: -0.1 - 0.2}}]
    judged = as_recorded(rows)
    read = read_samples(tmp_path, *write_samples(tmp_path, "Z1-1", judged))
    assert [list(row["told"].items()) for row in read] == [list(row["told"].items()) for row in judged]


async def test_a_changed_sample_is_noticed(folder: Path) -> None:
    file = folder / "samples" / "C03-1.jsonl"
    file.write_text(file.read_text().replace('"found": 17', '"found": 18'))
    (fault,) = disagreements(*read_report(folder), CHECKS)
    assert "expected sha256" in fault


async def test_a_changed_figure_is_noticed(folder: Path) -> None:
    told = json.loads((folder / "report.json").read_text())
    told["checks"][1]["attempts"][0]["judgement"]["figures"][2]["value"] += 1
    (folder / "report.json").write_text(json.dumps(told))
    assert "expected figures" in disagreements(*read_report(folder), CHECKS)[0]


async def test_a_changed_status_is_noticed(folder: Path) -> None:
    told = json.loads((folder / "report.json").read_text())
    told["checks"][0]["status"] = "FAIL"
    (folder / "report.json").write_text(json.dumps(told))
    assert "expected the status PASS of its last attempt" in disagreements(*read_report(folder), CHECKS)[0]


def test_every_form_is_written(folder: Path) -> None:
    assert {file.name for file in folder.iterdir() if file.is_file()} == set(WRITERS)
    assert fromstring((folder / "report.xml").read_text()).find("testsuite") is not None


async def test_two_equal_reports_have_no_changes(folder: Path) -> None:
    report, _ = read_report(folder)
    assert changes(report, report) == []
    assert matrix([report, report]).checks["C03"] == ("PASS", "PASS")


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="not a report that this suite reads"):
        read_report(tmp_path)
