"""What is not there yet is waited for, and is not blamed."""

from pathlib import Path

import pytest

from bellhousing.config import load_config
from bellhousing.plugins import Plugins
from bellhousing.server import Server
from bellhousing.testing import serving
from bellhousing_conformance import preflight
from bellhousing_conformance.calls import Address
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from tests.conformance.targets import tcp_server

SLOW = {"backend": "simulator", "name": "m", "options": {"load_seconds": 3.0}}


async def judged_while_it_loads(folder: Path, loading: float) -> ConformanceReport:
    server = Server(load_config(None, {"server": {"port": 0}, "models": [SLOW]}), Plugins())
    try:
        await server.start()
        target = Target(Address(server.address), silence=5.0, loading=loading)
        return await run(target, Plan(selected("smoke", "", ["C03"]), "smoke", 1), folder)
    finally:
        await server.stop()


async def test_a_model_that_is_being_loaded_is_waited_for(tmp_path: Path) -> None:
    report = await judged_while_it_loads(tmp_path, loading=60)
    assert [result.status for result in report.checks] == [Status.PASS]


async def test_a_model_that_goes_on_loading_is_not_blamed(tmp_path: Path) -> None:
    report = await judged_while_it_loads(tmp_path, loading=0)
    assert report.exit_code == INFRASTRUCTURE
    assert "expected it to serve within 0 s of the run's begin, found it LOADING" in report.failure
    assert [result.status for result in report.checks] == [Status.NOT_RUN]


async def test_a_target_that_takes_no_connection_in_time_is_said_not_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "CONNECT_SECONDS", 0.0)
    async with tcp_server(None) as address:
        report = await run(Target(Address(address)), Plan(selected("smoke", "", ["C03"]), "smoke", 1), tmp_path)
    assert report.failure == f"no server can be reached at {address} (no answer)"


async def test_an_engine_that_one_check_ended_is_waited_for_by_the_next(tmp_path: Path) -> None:
    """The streams of S03 are long enough for the fault, those of D06 are not."""
    options = {"faults": [{"kind": "crash", "after_tokens": 40}], "load_seconds": 1.0}
    async with serving("simulator-process", options=options) as served:
        plan = Plan(selected("full", "", ["S03", "D06"]), "smoke", 1, keep_going=True)
        report = await run(Target(Address(served.address)), plan, tmp_path)
    assert [result.status for result in report.checks] == [Status.FAIL, Status.PASS]
