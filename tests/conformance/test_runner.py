"""Whatever a run meets, it ends with a report, the right exit code and the right one to blame."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from bellhousing.testing import serving
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address
from bellhousing_conformance.check import check
from bellhousing_conformance.cli.selection import find, selected
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import FAILED, INFRASTRUCTURE, PARTIAL, PASSED
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.saboteurs.proxy import proxied
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from tests.conformance.targets import grpc_server, newer, tcp_server

HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


async def judged(address: str, folder: Path, *ids: str, **plan: Any) -> ConformanceReport:
    target = Target(Address(address), silence=2.0)
    return await run(target, Plan(selected("smoke", "", ids), "smoke", 1, **plan), folder)


async def test_a_target_that_is_down_is_no_failure_of_the_target(tmp_path: Path) -> None:
    report = await judged("127.0.0.1:1", tmp_path)
    assert report.exit_code == INFRASTRUCTURE
    assert "no server can be reached" in report.failure
    assert {result.status for result in report.checks} == {Status.NOT_RUN}


async def test_an_http_server_is_told_apart(tmp_path: Path) -> None:
    async with tcp_server(HTTP) as address:
        report = await judged(address, tmp_path)
    assert report.exit_code == INFRASTRUCTURE
    assert "does not speak gRPC" in report.failure


async def test_another_grpc_server_is_told_apart(tmp_path: Path) -> None:
    async with grpc_server() as address:
        report = await judged(address, tmp_path)
    assert report.exit_code == INFRASTRUCTURE
    assert "without the services of bellhousing.v1" in report.failure


async def test_a_newer_contract_is_the_suites_limit(tmp_path: Path) -> None:
    async with grpc_server(newer) as address:
        report = await judged(address, tmp_path)
    assert report.exit_code == INFRASTRUCTURE
    assert "judges contract v1" in report.failure


async def test_a_server_that_says_nothing_does_not_hold_the_run(tmp_path: Path) -> None:
    async with tcp_server(None) as address:
        report = await judged(address, tmp_path)
    assert report.exit_code == INFRASTRUCTURE
    assert "does not answer" in report.failure


async def test_a_right_target_passes(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, "C01", "C03", "S02")
    assert [result.status for result in report.checks] == [Status.PASS] * 3
    assert report.exit_code == PASSED


async def test_what_the_operator_skips_leaves_the_run_partial(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, "C01", "C03", skipped={"C03": "no time"})
    assert report.exit_code == PARTIAL
    assert report.profiles[0].verdict == "PARTIAL"


async def test_a_known_failure_that_passes_is_a_failure(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, "C01", issues={"C01": "https://example.org/1"})
    assert report.checks[0].status is Status.XPASS
    assert report.exit_code == FAILED


class Breaks(Saboteur):
    """Ends each stream before Finished, with status OK."""

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        return () if message.HasField("finished") else (message,)


class Hangs(Saboteur):
    """Says nothing after the first message."""

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        async for message in messages:
            yield message
            await asyncio.sleep(3600)


class Lies(Saboteur):
    """Declares nothing, and honours everything."""

    def answered(self, method: str, answer: object) -> None:
        for model in getattr(answer, "models", ()):
            model.capabilities.ClearField("parameters")


@pytest.mark.parametrize(("saboteur", "check_id", "words"), [
    (Breaks, "S02", "first and last message"),
    (Hangs, "S02", "expected a message or a status within"),
    (Lies, "C03", "declared absent: expected a request that sets it to be rejected"),
])  # fmt: skip
async def test_a_target_at_fault_is_blamed(saboteur: type[Saboteur], check_id: str, words: str, tmp_path: Path) -> None:
    async with serving("simulator") as served, proxied(served.address, saboteur) as address:
        report = await judged(address, tmp_path, check_id)
    assert report.checks[0].status is Status.FAIL
    assert words in report.checks[0].problems[0]
    assert report.exit_code == FAILED


async def test_a_defect_of_a_check_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f")
    async def broken(probe: Probe) -> None:
        raise KeyError("defect")

    async with serving("simulator") as served:
        report = await run(Target(Address(served.address)), Plan([broken], "smoke", 1), tmp_path)
    assert report.checks[0].status is Status.ERROR
    assert report.exit_code == INFRASTRUCTURE


async def test_a_check_without_its_hook_is_not_run(tmp_path: Path) -> None:
    @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f", hooks=("stop",))
    async def needing(probe: Probe) -> None:
        raise AssertionError("it should not run")

    async with serving("simulator") as served:
        report = await run(Target(Address(served.address)), Plan([needing], "smoke", 1), tmp_path)
    assert report.checks[0].status is Status.NOT_RUN
    assert report.exit_code == PARTIAL


def test_every_id_leads_to_its_check() -> None:
    assert all(find(each.id) is not None for each in selected("full", "", ()))
