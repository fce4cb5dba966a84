"""What cannot be declared absent is judged of a target without `ignore_eos` too."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bellhousing.backend import ModelInfo
from bellhousing.events import Progress
from bellhousing.testing import serving
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Address, Calls
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.examination import Examiner
from bellhousing_conformance.preflight import look
from bellhousing_conformance.proof.prove import ORACLE
from bellhousing_conformance.report.model import Result
from bellhousing_conformance.saboteurs.defects.ignores_cancellation import IgnoresCancellation
from bellhousing_conformance.saboteurs.proxy import proxied
from bellhousing_conformance.saboteurs.saboteur import Saboteur
from bellhousing_conformance.targets.hooks import Hooks
from bellhousing_conformance.targets.started import launched
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from bellhousing_simulator import SimulatorBackend

CANCEL = ("X01", "X02", "X04", "X05", "X06", "X07")
PROMISES = (*CANCEL, "B01", "B02", "B04", "N04", "S03")
PACE = {"inter_token_seconds": 0.002, "prefill_seconds_per_token": 0.0002}
PLACES = {"batching": {"max_sequences": 8}, "admission": {"max_queued": 64}}
"""Few: this process is client and server, and a long burst would keep it from timing anything."""


class WithoutIgnoreEos(SimulatorBackend):
    """Its outputs may end by themselves, and no request can ask it to go on."""

    absent: tuple[str, ...] = ("sampling.ignore_eos",)

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        info = await super().start(progress)
        kept = {path: limits for path, limits in info.capabilities.parameters.items() if path not in self.absent}
        return replace(info, capabilities=replace(info.capabilities, parameters=kept))


class EndsSoon(WithoutIgnoreEos):
    """Takes no temperature either: its outputs are drawn, and end anywhere."""

    absent = ("sampling.ignore_eos", "sampling.temperature")


async def judged(address: str, *ids: str, hooks: Hooks | None = None) -> dict[str, Result]:
    """Return the results of checks of a target in this process, which is too busy then for the gates of times."""
    async with Calls(Address(address), 10.0) as calls:
        model = await look(calls, Target(Address(address)))
        examiner = Examiner(calls, model, "smoke", 1, hooks or Hooks(), shares_process=True)
        return {check.id: (await examiner.examine(check)).result for check in selected("standard", "", ids)}


def test_only_the_checks_of_the_field_itself_need_it() -> None:
    own = {check.id for check in catalogue() if "sampling.ignore_eos" in check.needs and check.profile != "metrics"}
    assert own == {"C03"}


async def test_promises_are_kept_and_seen_to_be_without_it() -> None:
    async with serving(WithoutIgnoreEos, options={"end_probability": 0.002, **PACE}, model=PLACES) as served:
        found = await judged(served.address, *PROMISES)
    assert {name: each.status for name, each in found.items()} == dict.fromkeys(found, Status.PASS)
    assert found.keys() == set(PROMISES)


async def test_cancellations_that_are_ignored_are_seen_without_it() -> None:
    options = {"end_probability": 0.002, **PACE}
    for check_id in ("X01", "X02", "X04", "X06", "X07"):
        async with (
            serving(WithoutIgnoreEos, options=options, model=PLACES) as served,
            proxied(served.address, IgnoresCancellation) as address,
        ):
            found = await judged(address, check_id)
        assert (check_id, found[check_id].status) == (check_id, Status.FAIL)


class Hides(Saboteur):
    """Declares no `ignore_eos`, and refuses it."""

    def answered(self, method: str, answer: Any) -> None:
        if method in ("GetModel", "ListModels"):
            for model in getattr(answer, "models", None) or [answer.model]:
                kept = [each for each in model.capabilities.parameters if each.field != "sampling.ignore_eos"]
                model.capabilities.ClearField("parameters")
                model.capabilities.parameters.extend(kept)

    def asked(self, request: pb.GenerateRequest) -> None:
        if request.sampling.ignore_eos:
            request.sampling.max_tokens = 0


@pytest.mark.slow
async def test_a_fault_and_a_stop_are_judged_without_it() -> None:
    async with launched([ORACLE], load_seconds=60) as (_, target), proxied(target.where.address, Hides) as address:
        found = await judged(address, "E03", "T03", "L02", "B03", hooks=target.hooks)
    assert {name: each.status for name, each in found.items()} == dict.fromkeys(found, Status.PASS)


async def test_streams_that_end_by_themselves_are_no_failure() -> None:
    async with serving(EndsSoon, options={"end_probability": 0.3, **PACE}, model=PLACES) as served:
        found = await judged(served.address, "X01", "X02", "X05", "X06", "X07", "B04", "N04", "S03")
    assert not {Status.FAIL, Status.ERROR} & {each.status for each in found.values()}
    assert "streams ended by themselves before they could be cancelled" in found["X02"].problems[0]
