"""A target that declares narrower ranges than the contract, or fewer fields, is not failed for the rest."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import LogprobsMode, Range
from bellhousing.events import Progress
from bellhousing.testing import serving
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.report.model import ConformanceReport, Result
from bellhousing_conformance.report.verify import disagreements
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.saboteurs.proxy import proxied
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from bellhousing_simulator import SimulatorBackend


class Narrow(SimulatorBackend):
    """Declares less than the simulator, and is none whose probabilities the suite knows."""

    changed: ClassVar[Mapping[str, Range | None]] = {}
    mode: ClassVar[LogprobsMode] = "raw"

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        info = await super().start(progress)
        told = {**info.capabilities.parameters, **self.changed}
        kept = {path: limits for path, limits in told.items() if limits is not None}
        capabilities = replace(info.capabilities, parameters=kept, logprobs_mode=self.mode)
        return replace(info, engine="another", model_digest="", capabilities=capabilities)


async def judged(address: str, folder: Path, *ids: str) -> ConformanceReport:
    return await run(Target(Address(address)), Plan(selected("full", "", ids), "smoke", 1, keep_going=True), folder)


def wrong(report: ConformanceReport) -> dict[str, tuple[str, ...]]:
    return {each.id: each.problems for each in report.checks if each.status in (Status.FAIL, Status.ERROR)}


@pytest.mark.parametrize(("changed", "ids"), [
    ({"sampling.temperature": Range(0, 0.5)}, ("C02",)),
    ({"sampling.temperature": Range(0, 1)}, ("U01", "LP2", "D02", "D06", "P02")),
    ({"sampling.logit_bias": Range(-10, 10, max_items=4)}, ("C03", "ST6", "S05", "P06", "P10")),
    ({"sampling.n": Range(1, 4)}, ("P02", "S04")),
    ({"logprobs.top": Range(0, 1)}, ("N01", "N02", "LP2", "LP6")),
    ({"sampling.presence_penalty": Range(-1, 1), "sampling.repetition_penalty": Range(1, 2)}, ("P06", "P10")),
    ({"text": None}, ("C03", "C04", "C08", "S02", "ST6", "P03", "L01", "E05", "X05", "X07", "B01")),
    ({"sampling.max_tokens": Range(1, 64)}, ("C07", "X01", "X06")),
], ids=["cold", "temperature", "logit_bias", "n", "logprobs", "penalties", "text", "max_tokens"])  # fmt: skip
async def test_what_is_beyond_the_declared_range_is_no_failure(
    changed: Mapping[str, Range | None], ids: tuple[str, ...], tmp_path: Path
) -> None:
    kind = type("Narrowed", (Narrow,), {"changed": changed})
    async with serving(
        kind, options={"inter_token_seconds": 0.001}, model={"batching": {"max_sequences": 4}}
    ) as served:
        report = await judged(served.address, tmp_path, *ids)
    assert wrong(report) == {}


async def test_a_target_without_seeds_that_tells_processed_logprobs_is_asked_for_none(tmp_path: Path) -> None:
    kind = type("Seedless", (Narrow,), {"changed": {"sampling.seed": None}, "mode": "processed"})
    async with serving(kind) as served:
        report = await judged(served.address, tmp_path, "P03", "P04")
    told = "; ".join([problem for each in report.checks for problem in each.problems])
    assert "sampling.seed" not in told
    assert wrong(report) == {}


def result(report: ConformanceReport) -> Result:
    assert len(report.checks) == 1
    return report.checks[0]


async def test_what_a_check_lacks_is_told_and_the_report_verifies(tmp_path: Path) -> None:
    kind = type("Cool", (Narrow,), {"changed": {"sampling.temperature": Range(0, 0.5)}})
    async with serving(kind) as served:
        report = await judged(served.address, tmp_path, "D06")
    told = "the check asks for more than is declared: sampling.temperature must be at most 0.5, found 1"
    assert (result(report).status, result(report).problems[0]) == (Status.INCONCLUSIVE, told)
    assert disagreements(report, tmp_path, {each.id: each for each in catalogue()}) == []


class RefusesWhatItDeclares(Saboteur):
    """Refuses every temperature, whatever is declared."""

    def asked(self, request: pb.GenerateRequest) -> None:
        if request.sampling.HasField("temperature"):
            request.sampling.temperature = -1


@pytest.mark.parametrize("check_id", ["P01", "U01", "C02"])
async def test_a_target_that_refuses_what_it_declares_fails(check_id: str, tmp_path: Path) -> None:
    kind = type("Cool", (Narrow,), {"changed": {"sampling.temperature": Range(0, 1)}})
    async with serving(kind) as served, proxied(served.address, RefusesWhatItDeclares) as address:
        report = await judged(address, tmp_path, check_id)
    assert result(report).status is Status.FAIL
    assert "sampling.temperature" in result(report).problems[0]
