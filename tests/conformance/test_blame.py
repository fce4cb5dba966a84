"""What lacks something, leaves or is not there is told as such, and the right side is blamed for it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from bellhousing.testing import serving
from bellhousing.v1 import admin_pb2, admin_pb2_grpc
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address, Calls
from bellhousing_conformance.check import Check, check
from bellhousing_conformance.checks.determinism import d03_cold_is_cached as d03
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.judges import all_hold
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.saboteurs.proxy import proxied
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Row, Status
from tests.conformance.targets import babbling_inference, grpc_server, listing


async def judged(
    address: str, folder: Path, *ids: str, checks: list[Check] | None = None, **plan: Any
) -> ConformanceReport:
    target = Target(Address(address), silence=5.0, hooks=plan.pop("hooks", Hooks()))
    chosen = checks or selected("full", "", ids)
    return await run(target, Plan(chosen, "smoke", 1, keep_going=True, **plan), folder)


class SaysNothing(Saboteur):
    """Ends each stream well without a message."""

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        async for message in messages:
            if not message.ByteSize():
                yield message


class HasNoOutputs(Saboteur):
    """Answers Complete without outputs, Tokenize without ids."""

    def completed(self, answer: pb.CompleteResponse) -> None:
        answer.ClearField("outputs")

    def answered(self, method: str, answer: Any) -> None:
        if method == "Tokenize":
            answer.ClearField("token_ids")


class Invents(Saboteur):
    """Tells token ids that no vocabulary has, and no alternatives."""

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        for place in range(len(message.delta.token_ids)):
            message.delta.token_ids[place] = 10**6
        for entry in message.delta.logprobs:
            entry.ClearField("top")
        return (message,)


@pytest.mark.parametrize(("saboteur", "check_id", "words"), [
    (SaysNothing, "S03", "Generate: expected messages, found status OK without any"),
    (SaysNothing, "N04", "Generate: expected messages"),
    (SaysNothing, "X03", "Generate: expected messages"),
    (HasNoOutputs, "S01", "Complete: expected outputs"),
    (HasNoOutputs, "C08", "Tokenize: expected token ids"),
    (HasNoOutputs, "P06", "Tokenize: expected token ids"),
    (Invents, "P01", "found id 1000000"),
])  # fmt: skip
async def test_an_answer_that_lacks_what_it_must_have_is_the_targets_fault(
    saboteur: type[Saboteur], check_id: str, words: str, tmp_path: Path
) -> None:
    async with serving("simulator") as served, proxied(served.address, saboteur) as address:
        report = await judged(address, tmp_path, check_id)
    assert report.checks[0].status is Status.FAIL
    assert words in report.checks[0].problems[0]


async def test_a_target_without_alternatives_breaks_no_check(tmp_path: Path) -> None:
    async with serving("simulator") as served, proxied(served.address, Invents) as address:
        report = await judged(address, tmp_path, "LP2", "P02", "P03")
    assert Status.ERROR not in {each.status for each in report.checks}


async def test_a_load_without_a_message_is_the_targets_fault(tmp_path: Path) -> None:
    class Silent(admin_pb2_grpc.AdminServicer):
        async def LoadModel(self, request: object, context: object) -> AsyncIterator[None]:  # noqa: N802 - gRPC names it
            nothing: tuple[None, ...] = ()
            for message in nothing:
                yield message

        UnloadModel = LoadModel

    async def start() -> str:
        return ""

    def add(server: grpc.aio.Server) -> None:
        admin_pb2_grpc.add_AdminServicer_to_server(Silent(), server)

    async with grpc_server(listing, add) as address:
        report = await judged(address, tmp_path, "L04", hooks=Hooks({"start": start}))
    assert report.checks[0].status is Status.FAIL
    assert "last message of LoadModel" in report.checks[0].problems[0]


async def test_an_other_side_that_babbles_is_not_the_targets_fault(tmp_path: Path) -> None:
    async with serving("simulator") as served, grpc_server(babbling_inference) as other:
        report = await judged(served.address, tmp_path, "Q01", against=Target(Address(other)))
    assert (report.checks[0].status, report.exit_code) == (Status.ERROR, INFRASTRUCTURE)
    assert report.checks[0].problems[0].startswith("the other target: ")


async def test_a_model_that_is_not_loaded_is_not_judged(tmp_path: Path) -> None:
    async with serving("simulator") as served:
        async with Calls(Address(served.address), 5.0) as calls:
            unload = admin_pb2.UnloadModelRequest(model=served.model.config.name)
            async for _ in calls.stubs.admin.UnloadModel(unload):
                pass
        report = await judged(served.address, tmp_path, "C01")
    assert report.exit_code == INFRASTRUCTURE
    assert "found it UNLOADED" in report.failure


async def test_a_target_that_left_during_a_check_that_failed_is_lost(tmp_path: Path) -> None:
    async with serving("simulator") as served:

        @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f")
        async def leaving(probe: Probe) -> None:
            await served.server.stop()
            probe.holds(False, "expected a field to be named, found none")

        report = await judged(served.address, tmp_path, checks=[leaving])
    assert report.exit_code == INFRASTRUCTURE
    assert "during check Z1 the target stopped answering" in report.failure


async def test_a_limit_of_the_checks_own_is_told_in_its_own_words(tmp_path: Path) -> None:
    @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f")
    async def waiting(probe: Probe) -> None:
        raise TimeoutError("expected the streams within 1 s")

    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, checks=[waiting])
    assert (report.checks[0].status, report.checks[0].reason) == (Status.FAIL, "expected the streams within 1 s.")


async def test_the_limit_that_cut_a_check_is_the_one_that_is_told(tmp_path: Path) -> None:
    @check("Z1", title="t", clause="bellhousing.v1.Usage", profile="core", finds="f", paired=True, seconds=0.2)
    async def waiting(probe: Probe) -> None:
        await asyncio.sleep(5)

    async with serving("simulator") as served:
        report = await judged(served.address, tmp_path, checks=[waiting], against=Target(Address(served.address)))
    assert "it was cut after 0.4 s" in report.checks[0].problems[0]


class Forgets(Saboteur):
    """Tells neither a precision nor pieces."""

    def answered(self, method: str, answer: Any) -> None:
        if method == "GetModel":
            answer.model.ClearField("precision")
        if method == "Tokenize":
            answer.ClearField("pieces")


class Misnames(Saboteur):
    """Refuses as if the engine were dead."""

    async def refused(self, code: grpc.StatusCode) -> grpc.StatusCode:
        is_full = code is grpc.StatusCode.RESOURCE_EXHAUSTED
        return grpc.StatusCode.UNAVAILABLE if is_full else code


@pytest.mark.parametrize(("saboteur", "check_id", "words"), [
    (Forgets, "C01", "Model.precision"),
    (Forgets, "C06", "bytes of the pieces"),
    (Misnames, "B01", "status of a request to a full target"),
])  # fmt: skip
async def test_what_a_description_a_tokenizer_and_a_full_target_owe_is_judged(
    saboteur: type[Saboteur], check_id: str, words: str, tmp_path: Path
) -> None:
    options = {"inter_token_seconds": 0.002}
    few = {"batching": {"max_sequences": 2}, "admission": {"max_queued": 8}}
    async with serving("simulator", options=options, model=few) as served, proxied(served.address, saboteur) as address:
        report = await judged(address, tmp_path, check_id)
    told = [problem for problem in report.checks[0].problems if words in problem]
    assert told, report.checks[0].problems


def pair(**changed: object) -> Row:
    base = {"kind": "pair", "what": "w", "ids": [[1], [1]], "gaps": [1.0], "tolerance": 0.1, "cached_tokens": 0}
    return {**base, **changed}


def test_d03_without_a_cached_prompt_decides_nothing() -> None:
    assert d03.judge([pair(is_cached_told=True)], 0.0).status is Status.INCONCLUSIVE
    assert d03.judge([pair(is_cached_told=True, cached_tokens=4)], 0.0).status is Status.PASS
    assert d03.judge([pair(is_cached_told=False)], 0.0).status is Status.PASS


def test_what_could_not_be_looked_at_is_told() -> None:
    left_out: Row = {"kind": "left_out", "what": "a stream is too short"}
    held: Row = {"kind": "holds", "what": "w", "holds": True}
    found = all_hold([left_out])
    assert (found.status, found.problems) == (Status.INCONCLUSIVE, ("a stream is too short",))
    assert all_hold([left_out, held]).status is Status.PASS
    assert all_hold([left_out, left_out, held]).status is Status.INCONCLUSIVE
    assert all_hold([left_out, {**held, "holds": False}]).status is Status.FAIL
