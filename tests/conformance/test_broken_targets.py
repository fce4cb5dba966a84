"""Half a server, one that lies, one that breaks: the run ends, with the right exit code and the right one to blame."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bellhousing.launch import ServerProcess
from bellhousing.testing import serving
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address
from bellhousing_conformance.check import check
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.loads import send_closed
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import FAILED, INFRASTRUCTURE
from bellhousing_conformance.report.writers import read_report, write_report
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.saboteurs.proxy import proxied
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from tests.conformance.targets import (
    babbling,
    babbling_inference,
    cutting,
    grpc_server,
    hanging,
    listing,
    without_discovery,
)


async def judged(address: str, folder: Path, *ids: str, hooks: Hooks | None = None) -> ConformanceReport:
    """Return the report of a run, which can be written in every form."""
    plan = Plan(selected("smoke", "", ids), "smoke", 1, keep_going=True)
    report = await run(Target(Address(address), hooks=hooks or Hooks(), silence=2.0), plan, folder)
    write_report(report, folder)
    assert read_report(folder)[0] == report
    return report


def statuses(report: ConformanceReport) -> dict[str, Status]:
    return {result.id: result.status for result in report.checks}


async def test_a_server_without_discovery_is_half_a_server_and_fails(tmp_path: Path) -> None:
    async with grpc_server(without_discovery) as address:
        report = await judged(address, tmp_path)
    assert report.exit_code == FAILED
    assert statuses(report)["C01"] is Status.FAIL
    assert "found UNIMPLEMENTED, while Inference is served" in report.checks[0].problems[0]
    assert all(result.status is Status.NOT_RUN for result in report.checks[1:])


async def test_a_method_that_is_unimplemented_although_declared_fails(tmp_path: Path) -> None:
    async with grpc_server(listing) as address:
        report = await judged(address, tmp_path, "C01", "C03")
    assert statuses(report) == {"C01": Status.FAIL, "C03": Status.FAIL}
    assert "expected status OK, found UNIMPLEMENTED" in report.checks[1].problems[0]
    assert report.exit_code == FAILED


async def test_a_server_that_hangs_for_everyone_ends_the_run_and_is_not_blamed(tmp_path: Path) -> None:
    async with grpc_server(hanging) as address:
        report = await judged(address, tmp_path, "C03", "C04")
    assert report.exit_code == INFRASTRUCTURE
    assert "during check C03 the target stopped answering" in report.failure
    assert set(statuses(report).values()) == {Status.NOT_RUN}


async def test_a_server_that_answers_with_no_message_is_told_apart(tmp_path: Path) -> None:
    async with grpc_server(babbling) as address:
        report = await judged(address, tmp_path)
    assert report.exit_code == INFRASTRUCTURE
    assert "found bytes that cannot be parsed" in report.failure


async def test_a_stream_of_no_messages_is_the_targets_fault(tmp_path: Path) -> None:
    async with grpc_server(babbling_inference) as address:
        report = await judged(address, tmp_path, "C03", "C04")
    assert statuses(report) == {"C03": Status.FAIL, "C04": Status.FAIL}
    assert "found bytes that cannot be parsed" in report.checks[0].problems[0]
    assert report.exit_code == FAILED


async def test_a_server_that_dies_in_the_run_keeps_what_was_seen_before(tmp_path: Path) -> None:
    async with ServerProcess([{"backend": "simulator"}]) as server:
        await server.wait_serving(60)

        @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f")
        async def killing(probe: Probe) -> None:
            await server.kill()
            await probe.generate(max_tokens=1)

        checks = [*selected("smoke", "", ["C03"]), killing, *selected("smoke", "", ["S02"])]
        report = await run(Target(Address(server.address), silence=2.0), Plan(checks, "smoke", 1), tmp_path)
    assert statuses(report) == {"C03": Status.PASS, "Z1": Status.NOT_RUN, "S02": Status.NOT_RUN}
    assert report.exit_code == INFRASTRUCTURE
    assert "during check Z1 the target stopped answering" in report.failure


async def test_a_server_that_dies_before_a_load_is_lost_and_the_check_is_not_broken(tmp_path: Path) -> None:
    async with ServerProcess([{"backend": "simulator"}]) as server:
        await server.wait_serving(60)

        @check("Z1", title="t", clause="bellhousing.v1.Load", profile="throughput", finds="f")
        async def loading(probe: Probe) -> None:
            await server.kill()
            await send_closed(probe, "load", concurrency=1, seconds=1)

        report = await run(Target(Address(server.address), silence=2.0), Plan([loading], "smoke", 1), tmp_path)
    assert statuses(report) == {"Z1": Status.NOT_RUN}
    assert "during check Z1 the target stopped answering" in report.failure


class EndsAtRandom(Saboteur):
    """Ends about every third stream early, with status OK."""

    random = Random(1)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        left = self.random.choice((1, 1000, 1000))
        async for message in messages:
            if left == 0:
                return
            left -= 1
            yield message


async def test_streams_that_end_at_random_are_the_targets_fault(tmp_path: Path) -> None:
    async with serving("simulator") as served, proxied(served.address, EndsAtRandom) as address:
        report = await judged(address, tmp_path, "C04", "S02")
    assert statuses(report) == {"C04": Status.FAIL, "S02": Status.FAIL}
    assert report.exit_code == FAILED


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_connections_that_break_in_streams_are_no_defect_of_the_suite(seed: int, tmp_path: Path) -> None:
    @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f")
    async def streaming(probe: Probe) -> None:
        for _ in range(20):
            await probe.generate(max_tokens=400, ignore_eos=True)

    slow = [{"backend": "simulator", "options": {"inter_token_seconds": 0.001}}]
    async with ServerProcess(slow) as server:
        await server.wait_serving(60)
        async with cutting(server.address, seed, between=(5_000, 9_000)) as address:
            plan = Plan([streaming], "smoke", 1)
            report = await run(Target(Address(address), silence=5.0), plan, tmp_path)
    # The address answers again at once, so that it is the target, with the way to it, that broke the streams.
    assert statuses(report) == {"Z1": Status.FAIL}
    assert "expected status OK, found UNAVAILABLE" in report.checks[0].problems[0]
    assert report.exit_code == FAILED


class Claims(Saboteur):
    """Declares a field that the contract has not."""

    def answered(self, method: str, answer: Any) -> None:
        for model in [*getattr(answer, "models", ()), *([answer.model] if method == "GetModel" else ())]:
            model.capabilities.parameters.add(field="sampling.no_such_field")


class Forgets(Saboteur):
    """Declares no `tokenize`, and tokenizes."""

    def answered(self, method: str, answer: Any) -> None:
        for model in [*getattr(answer, "models", ()), *([answer.model] if method == "GetModel" else ())]:
            model.capabilities.tokenize = False


async def test_a_declared_field_that_the_contract_has_not_fails(tmp_path: Path) -> None:
    async with serving("simulator") as served, proxied(served.address, Claims) as address:
        report = await judged(address, tmp_path, "C01")
    assert "declared fields that the contract has not" in report.checks[0].problems[0]
    assert report.exit_code == FAILED


async def test_a_method_that_works_although_declared_absent_fails(tmp_path: Path) -> None:
    @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f", needs=("tokenize",))
    async def needing(probe: Probe) -> None:
        raise AssertionError("it should not run")

    async with serving("simulator") as served, proxied(served.address, Forgets) as address:
        report = await run(Target(Address(address), silence=2.0), Plan([needing], "smoke", 1), tmp_path)
    assert "tokenize is declared absent: expected UNIMPLEMENTED, found status OK" in report.checks[0].problems[0]
    assert report.exit_code == FAILED
