"""A signal ends a command with what it has, and nothing that it started stays behind."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

import psutil
import pytest

from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.report.writers import read_report
from bellhousing_conformance.runner import INTERRUPTED
from bellhousing_conformance.verdict import Status

pytestmark = pytest.mark.slow

LIST = """
tier = "standard"

[[target]]
name = "first"
backend = "simulator"
[target.options]
inter_token_seconds = 0.05

[[target]]
name = "second"
backend = "simulator"
"""
OBJECTIVE = """
[[objective]]
metric = "ttft"
percentile = 50
limit = 1
"""
SLOW = "inter_token_seconds=0.05"
END_SECONDS = 20.0


async def started(*arguments: object, at: str) -> tuple[Process, list[psutil.Process]]:
    """Start a command of the suite; return it and all that it has started, once a line of it has `at`."""
    command = (sys.executable, "-m", "bellhousing", "conformance", *map(str, arguments))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout
    async for line in process.stdout:
        if at in line.decode():
            return process, psutil.Process(process.pid).children(recursive=True)
    raise AssertionError(f"the command ended before a line with {at!r}")


async def ended(process: Process, *signals: int) -> str:
    """Send signals; return what the command still wrote when it has ended."""
    for number in signals:
        process.send_signal(number)
    written, _ = await process.communicate()
    return written.decode()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that go on running: Python's own tracker ends a moment after the command that it served.

    One that has ended may wait for its parent to look.
    """
    _, left = psutil.wait_procs([each for each in processes if not _is_over(each)], timeout=END_SECONDS)
    return [each for each in left if not _is_over(each)]


def _is_over(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
async def test_an_interrupted_run_writes_its_report_and_ends_its_server(tmp_path: Path, signals: tuple[int]) -> None:
    process, children = await started("run", "--start", "simulator", "-o", SLOW, "--output", tmp_path, at="C01")
    assert children
    written = await ended(process, *signals)
    assert process.returncode == INFRASTRUCTURE, written
    assert alive(children) == []
    report, _ = read_report(tmp_path)
    assert (report.failure, report.checks[0].status) == (INTERRUPTED, Status.PASS)
    assert report.checks[-1].status is Status.NOT_RUN


async def test_interrupted_results_tell_what_was_not_judged(tmp_path: Path) -> None:
    listed, document = tmp_path / "list.toml", tmp_path / "RESULTS.md"
    listed.write_text(LIST)
    arguments = ("results", "--config", listed, "--output", tmp_path, "--publish", document)
    process, children = await started(*arguments, at="C01")
    written = await ended(process, signal.SIGTERM)
    assert process.returncode == INFRASTRUCTURE, written
    assert alive(children) == []
    assert INTERRUPTED in document.read_text()


async def test_an_interrupted_proof_leaves_nothing_behind(tmp_path: Path) -> None:
    process, children = await started("prove", "--output", tmp_path, at="seen by")
    written = await ended(process, signal.SIGTERM)
    assert process.returncode == INFRASTRUCTURE, written
    assert alive(children) == []


@pytest.mark.parametrize("arguments", [("load", "--rate", 2), ("goodput",)])
async def test_an_interrupted_load_ends_its_server_and_its_senders(
    arguments: tuple[object, ...], tmp_path: Path
) -> None:
    slo = tmp_path / "slo.toml"
    slo.write_text(OBJECTIVE)
    told = ("--start", "simulator", "--slo", slo, "--output", tmp_path)
    process, children = await started(*arguments, *told, at="measuring ")
    assert children
    written = await ended(process, signal.SIGTERM)
    assert process.returncode == INFRASTRUCTURE, written
    assert alive(children) == []


async def test_an_interrupted_check_of_the_measuring_leaves_nothing_behind(tmp_path: Path) -> None:
    process, _ = await started("load-check", "--output", tmp_path, at="measuring known")
    command = psutil.Process(process.pid)
    while not (children := command.children(recursive=True)):
        await asyncio.sleep(0.05)
    written = await ended(process, signal.SIGTERM)
    assert process.returncode == INFRASTRUCTURE, written
    assert alive(children) == []
