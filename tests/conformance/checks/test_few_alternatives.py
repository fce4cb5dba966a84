"""A target that tells few alternatives, and declares so, is asked for no more."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Range
from bellhousing.events import Progress
from bellhousing.testing import serving
from bellhousing_conformance.calls import Address
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status
from bellhousing_simulator import SimulatorBackend

ASKING = ("P02", "P03", "P04", "P05", "P06", "P07", "P08", "LP1", "LP2", "LP6")


class FewAlternatives(SimulatorBackend):
    """Tells four alternatives at most, and is no simulator whose probabilities the suite knows."""

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        info = await super().start(progress)
        parameters = {**info.capabilities.parameters, "logprobs.top": Range(maximum=4)}
        return replace(info, engine="another", capabilities=replace(info.capabilities, parameters=parameters))


async def test_checks_ask_for_as_many_alternatives_as_the_target_declares(tmp_path: Path) -> None:
    async with serving(FewAlternatives) as served:
        plan = Plan(selected("full", "", ASKING), "smoke", seed=1, keep_going=True)
        report = await run(Target(Address(served.address)), plan, tmp_path)
    found = {result.id: (result.status, result.reason, result.attempts) for result in report.checks}
    assert not {name: told for name, told in found.items() if told[0] in (Status.FAIL, Status.ERROR)}
