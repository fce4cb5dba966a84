"""TH4: whether the target was loaded while the sampled outputs were made."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bellhousing.launch import ServerProcess
from bellhousing_conformance.calls import Address
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.checks.throughput import th4_under_load as th4
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.loads import loads_of
from bellhousing_conformance.report.samples import read_samples
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Row, Status
from tests.conformance.load.rows import perfect

ORIGIN_NS = 10**18
SECOND = 10**9
PAIR: Row = {"kind": "pair", "what": "an output", "left": [1], "right": [1], "best": None, "allowed": 0.0}
WRONG: Row = {**PAIR, "right": [2]}


def sampled(began: float, ended: float) -> Row:
    return {"kind": "sampled", "began_ns": ORIGIN_NS + int(began * SECOND), "ended_ns": ORIGIN_NS + int(ended * SECOND)}


def sent(found: Run) -> list[Row]:
    info = {"info": msgspec.to_builtins(found.info), "floor": found.floor, "is_gated": True}
    rows: list[dict[str, Any]] = [{"kind": "run", "scenario": "load", **info}]
    rows += [{"kind": "sent", "scenario": "load", "row": msgspec.to_builtins(row)} for row in found.rows]
    return json.loads(json.dumps(rows))  # type: ignore[no-any-return]


def refusing(share: float) -> Run:
    """Return a load of which a share is refused."""
    found = perfect()
    rows = [replace(row, code="UNAVAILABLE") if row.index < share * len(found.rows) else row for row in found.rows]
    return Run(rows, found.info, found.floor)


def test_th4_equal_outputs_of_a_loaded_target_pass() -> None:
    assert th4.judge([PAIR, sampled(5, 6), *sent(perfect())], 0.0).status is Status.PASS


@pytest.mark.parametrize(("began", "ended"), [(-4.0, -3.0), (0.0, 6.0), (50.0, 70.0)])
def test_th4_an_output_made_before_or_after_the_load_decides_nothing(began: float, ended: float) -> None:
    found = th4.judge([PAIR, sampled(5, 6), sampled(began, ended), *sent(perfect())], 0.0)
    assert found.status is Status.INCONCLUSIVE
    assert found.problems == ("1 of 2 sampled outputs were made outside the time of the load",)


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_th4_a_load_that_was_mostly_refused_decides_nothing(share: float) -> None:
    assert th4.judge([PAIR, sampled(40, 41), *sent(refusing(share))], 0.0).status is Status.INCONCLUSIVE


def test_th4_no_load_decides_nothing_and_a_wrong_output_fails_whatever_the_load_was() -> None:
    assert th4.judge([PAIR, sampled(5, 6)], 0.0).status is Status.INCONCLUSIVE
    assert th4.judge([WRONG, sampled(-5, -4), *sent(refusing(1.0))], 0.0).status is Status.FAIL


@pytest.mark.slow
async def test_th4_samples_while_the_load_is_being_answered(tmp_path: Path) -> None:
    checks = [each for each in catalogue() if each.id == "TH4"]
    async with ServerProcess([{"backend": "simulator", "options": {"inter_token_seconds": 0.002}}]) as server:
        await server.wait_serving(60)
        report = await run(Target(Address(server.address)), Plan(checks, "smoke", 1), tmp_path)
    attempt = report.checks[0].attempts[0]
    rows = read_samples(tmp_path, attempt.samples, attempt.sha256)
    load = loads_of(rows)[-1]
    first = min(row.end_ns for row in load.run.rows if row.is_ok)
    sample = load.run.info.samples[0]
    origin = sample.wall_ns - sample.at_ns
    began = [row["began_ns"] - origin for row in rows if row["kind"] == "sampled"]
    assert len(began) == 6
    assert min(began) >= first
