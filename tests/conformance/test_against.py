"""The target against another: a live one, or a report."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bellhousing.backend import ModelInfo
from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress
from bellhousing.testing import serving
from bellhousing_conformance.against import RecordedOther
from bellhousing_conformance.calls import Address
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.checks.equivalence import q03_outputs
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import FAILED, INFRASTRUCTURE, PARTIAL
from bellhousing_conformance.report.verify import disagreements
from bellhousing_conformance.report.writers import read_report, write_report
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from bellhousing_simulator import SimulatorBackend

OTHER_WEIGHTS = {"weights_seed": 7}


async def judged(address: str, folder: Path, **plan: Any) -> ConformanceReport:
    plan = {"seed": 1, "checks": selected("full", "", ("Q01", "Q02")), **plan}
    report = await run(Target(Address(address)), Plan(tier="smoke", **plan), folder)
    write_report(report, folder)
    return report


def statuses(report: ConformanceReport) -> list[Status]:
    return [result.status for result in report.checks]


async def test_a_target_is_equivalent_to_itself(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, against=Target(Address(served.address)))
    assert statuses(report) == [Status.PASS] * 2
    assert report.against is not None
    assert report.against.backend == "simulator"
    assert disagreements(*read_report(tmp_path), {check.id: check for check in catalogue()}) == []


async def test_other_weights_are_told_apart_though_the_tokens_are_equal(tmp_path: Path) -> None:
    async with serving("simulator") as served, serving("simulator", options=OTHER_WEIGHTS) as other:
        report = await judged(served.address, tmp_path, against=Target(Address(other.address)))
    assert statuses(report) == [Status.PASS, Status.FAIL]
    assert report.exit_code == FAILED


class WithoutN(SimulatorBackend):
    """Takes one sequence a request, so that the suite asks it more often and draws more seeds for that."""

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        info = await super().start(progress)
        told = info.capabilities
        parameters = {field: value for field, value in told.parameters.items() if field != "sampling.n"}
        return replace(info, capabilities=replace(told, parameters=parameters))


async def test_sides_that_declare_other_things_are_given_the_same_prompts(tmp_path: Path) -> None:
    async with serving("simulator") as served, serving(WithoutN) as other:
        report = await judged(
            served.address, tmp_path, checks=selected("full", "equivalence", ()), against=Target(Address(other.address))
        )
    assert Status.FAIL not in statuses(report)
    strata = next(figure for figure in report.checks[2].figures if figure.name == "n_eff")
    assert strata.value == 5  # all prompts of this size


def test_outputs_of_other_prompts_are_not_compared() -> None:
    rows = [{"kind": "sample", "prompt": "one", "ids": [1]}]
    found = q03_outputs.compare(rows, [{**rows[0], "prompt": "two"}], 0.001)
    assert (found.status, found.problems) == (Status.INCONCLUSIVE, ("the two sides were not given the same prompts",))


async def test_without_another_target_nothing_is_compared(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path)
    assert statuses(report) == [Status.NOT_RUN] * 2
    assert report.exit_code == PARTIAL


async def test_an_earlier_report_takes_the_place_of_the_other_target(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    async with serving("simulator") as served:
        recorded = await judged(served.address, before, record=True)
        report = await judged(served.address, now, against=RecordedOther(recorded, before))
    assert statuses(recorded) == [Status.NOT_RUN] * 2
    assert "a run with --record keeps its samples for a later --against" in recorded.checks[0].problems[0]
    assert statuses(report) == [Status.PASS] * 2


async def test_a_report_without_recorded_samples_decides_nothing(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    async with serving("simulator") as served:
        plain = await judged(served.address, before)
        report = await judged(served.address, now, against=RecordedOther(plain, before))
    assert statuses(report) == [Status.NOT_RUN] * 2
    assert "--record" in report.checks[0].problems[0]


async def test_a_report_of_another_seed_is_refused(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path)
    with pytest.raises(ConfigurationError, match="seed 2, found tier smoke and seed 1"):
        RecordedOther(report, tmp_path).require(2, "smoke")


async def test_another_target_that_is_down_is_no_failure_of_the_target(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, against=Target(Address("127.0.0.1:1")))
    assert report.exit_code == INFRASTRUCTURE
    assert "--against" in report.failure


async def test_another_target_that_fails_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    fault = {"faults": [{"kind": "error", "after_tokens": 0}]}
    async with serving("simulator") as served, serving("simulator", options=fault) as other:
        report = await judged(
            served.address, tmp_path, checks=selected("full", "", ("Q02",)), against=Target(Address(other.address))
        )
    assert statuses(report) == [Status.ERROR]
    assert "the other target" in report.checks[0].problems[0]
