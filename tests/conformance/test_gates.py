"""What is measured of the suite's own process, and what follows from it."""

import asyncio
import time
from pathlib import Path

import pytest

from bellhousing.testing import serving
from bellhousing_conformance.calls import Address, TargetSilent
from bellhousing_conformance.check import check
from bellhousing_conformance.gates import MOST_CPU_SHARE, MOST_LAG_SECONDS, MOST_STALL_SECONDS, Gates, gated, watching
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.report.markdown import markdown
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import FAILED, PARTIAL
from bellhousing_conformance.report.verify import disagreements
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Judgement, Status

SILENCE = 1.0
KEPT = Gates(lag_p99=0.001, lag_most=0.002, cpu_share=0.1)
BROKEN = (
    Gates(lag_p99=2 * MOST_LAG_SECONDS, lag_most=0.3, cpu_share=0.1),
    Gates(lag_p99=0.001, lag_most=2 * MOST_STALL_SECONDS, cpu_share=0.1),
    Gates(lag_p99=0.001, lag_most=0.002, cpu_share=1.5 * MOST_CPU_SHARE),
)


async def judged(*checks: object, folder: Path) -> ConformanceReport:
    async with serving("simulator") as served:
        target = Target(Address(served.address), silence=SILENCE)
        return await run(target, Plan(list(checks), "smoke", 1), folder)  # type: ignore[arg-type] # what `check` makes


def blocking(check_id: str, *, alone: bool) -> object:
    """Return a check that keeps the suite's process from looking, and finds what is wrong."""

    @check(check_id, title="t", clause="bellhousing.v1.Usage", profile="core", finds="f", alone=alone)
    async def observe(probe: Probe) -> None:
        """Hold the loop."""
        await asyncio.sleep(0)
        time.sleep(1.2 * MOST_STALL_SECONDS)  # noqa: ASYNC251 - what is measured
        probe.holds(False, "a time that is too long")

    return observe


def silent(check_id: str, *, blocks: bool) -> object:
    """Return a check that meets a silence, while this process looks or does not."""

    @check(check_id, title="t", clause="bellhousing.v1.Usage", profile="core", finds="f")
    async def observe(_probe: Probe) -> None:
        """Raise as a call does."""
        await asyncio.sleep(0)
        if blocks:
            time.sleep(SILENCE)  # noqa: ASYNC251 - what is measured
        raise TargetSilent("Generate", SILENCE)

    return observe


async def test_a_process_that_is_held_up_measures_its_own_lateness() -> None:
    async with watching() as watch:
        await asyncio.sleep(0.1)  # some wake-ups in time
        time.sleep(0.2)  # noqa: ASYNC251 - what is measured
        found = watch.read()
    assert found.lag_most >= 0.15
    assert found.lag_p99 < found.lag_most  # one late wake-up is no percentile


async def test_a_burst_of_work_is_no_lasting_load() -> None:
    async with watching() as watch:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            await asyncio.sleep(0)
        found = watch.read()
    assert 0 < found.cpu_share < MOST_CPU_SHARE
    assert not found.broken


@pytest.mark.parametrize("gates", BROKEN)
@pytest.mark.parametrize("status", [Status.PASS, Status.FAIL])
def test_behind_a_broken_gate_nothing_is_decided(gates: Gates, status: Status) -> None:
    found = gated(Judgement(status=status), gates)
    assert found.status is Status.INCONCLUSIVE
    assert "expected at most" in found.problems[0]


@pytest.mark.parametrize("gates", [KEPT, None])
def test_a_gate_that_is_kept_changes_nothing(gates: Gates | None) -> None:
    judgement = Judgement(status=Status.FAIL, problems=("p",))
    assert gated(judgement, gates) is judgement


async def test_a_check_that_runs_alone_fails_no_target_while_the_suite_itself_is_late(tmp_path: Path) -> None:
    alone, other = blocking("Y1", alone=True), blocking("Y2", alone=False)
    report = await judged(alone, other, folder=tmp_path)
    assert [result.status for result in report.checks] == [Status.INCONCLUSIVE, Status.FAIL]
    assert disagreements(report, tmp_path, {"Y1": alone, "Y2": other}) == []  # type: ignore[dict-item] # what `check` makes
    assert "| loop lag, p99 |" in markdown(report)
    assert "Y1" in next(line for line in markdown(report).splitlines() if line.startswith("| longest stall"))


@pytest.mark.parametrize(
    ("blocks", "status", "code"), [(True, Status.INCONCLUSIVE, PARTIAL), (False, Status.FAIL, FAILED)]
)
async def test_a_silence_that_the_suite_slept_through_is_not_the_targets(
    tmp_path: Path, *, blocks: bool, status: Status, code: int
) -> None:
    report = await judged(silent("Y3", blocks=blocks), folder=tmp_path)
    assert (report.checks[0].status, report.exit_code) == (status, code)
