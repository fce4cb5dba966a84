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
from bellhousing_conformance.report.verify import another_suite, disagreements
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


def edited(folder: Path, place: tuple[str | int, ...], value: object) -> list[str]:
    """Return what is wrong with a report of which one value alone is changed."""
    told = json.loads((folder / "report.json").read_text())
    *way, last = place
    there = told
    for step in way:
        there = there[step]
    there[last] = value
    (folder / "report.json").write_text(json.dumps(told))
    return disagreements(*read_report(folder), CHECKS)


FIRST = ("checks", 0)  # C03, which passed


@pytest.mark.parametrize(("place", "value", "words"), [
    (("checks", 1, "attempts", 0, "judgement", "figures", 2, "value"), 0.5, "expected figures"),
    ((*FIRST, "status"), "FAIL", "expected the status PASS of its last attempt"),
    ((*FIRST, "status"), "NOT_SUPPORTED", "expected the status PASS of its last attempt"),
    ((*FIRST, "status"), "NOT_RUN", "expected the status PASS of its last attempt"),
    ((*FIRST, "status"), "XPASS", "expected the status PASS of its last attempt"),  # no issue says that it fails
    ((*FIRST, "attempts"), [], "C03: expected an attempt that shows PASS, found none"),
    ((*FIRST, "attempts", 0, "number"), 3, "C03, attempt 3: expected a number from 1 to 1"),
    ((*FIRST, "attempts", 0, "number"), 0, "C03, attempt 0: expected a number from 1 to 1"),
    (("checks", 1, "attempts", 0, "number"), 2, "expected attempts 1, 2 and so on, found 2"),
    ((*FIRST, "requirement"), "SHOULD", "C03: expected the requirement MUST, found SHOULD"),
    ((*FIRST, "profile"), "soak", "C03: expected the profile core, found soak"),
    ((*FIRST, "id"), "P02", "P02: expected once, found 2 times"),
    (("left_out",), [], "left_out: expected ('C01', "),
    (("conformant",), True, "conformant: expected False, found True"),
])  # fmt: skip
async def test_a_changed_value_is_noticed(
    folder: Path, place: tuple[str | int, ...], value: object, words: str
) -> None:
    assert any(words in fault for fault in edited(folder, place, value))


async def test_a_failure_that_is_told_by_its_reason_alone_needs_one(folder: Path) -> None:
    told = json.loads((folder / "report.json").read_text())
    told["checks"][0] |= {"status": "INCONCLUSIVE", "attempts": []}
    (folder / "report.json").write_text(json.dumps(told))
    faults = disagreements(*read_report(folder), CHECKS)
    assert "C03: expected an attempt or a reason for INCONCLUSIVE, found neither" in faults


async def test_a_known_failure_that_passes_is_borne_out(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        plan = Plan(selected("standard", "", ("C03",)), "smoke", 1, issues={"C03": "https://example.org/1"})
        write_report(await run(Target(Address(served.address)), plan, tmp_path), tmp_path)
    assert disagreements(*read_report(tmp_path), CHECKS) == []


async def test_a_report_of_another_suite_is_said_to_be_one(folder: Path) -> None:
    report, _ = read_report(folder)
    assert another_suite(report) == ""
    other = report.model_copy(update={"suite": report.suite.model_copy(update={"digest": "sha256:0"})})
    assert " sha256:0, and is judged by the checks of suite " in another_suite(other)


def test_every_form_is_written(folder: Path) -> None:
    assert {file.name for file in folder.iterdir() if file.is_file()} == set(WRITERS)
    assert fromstring((folder / "report.xml").read_text()).find("testsuite") is not None


def test_a_report_replaces_an_earlier_one_and_nothing_else(folder: Path) -> None:
    report, _ = read_report(folder)
    (folder / "samples" / "notes.jsonl").touch()
    write_report(report.model_copy(update={"checks": report.checks[:1]}), folder)
    assert {file.name for file in (folder / "samples").iterdir()} == {"C03-1.jsonl", "notes.jsonl"}


async def test_two_equal_reports_have_no_changes(folder: Path) -> None:
    report, _ = read_report(folder)
    assert changes(report, report) == []
    assert matrix([report, report]).checks["C03"] == ("PASS", "PASS")


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="not a report that this suite reads"):
        read_report(tmp_path)
