"""Estimates of loads: VALID or INVALID, and PASS or FAIL only by a declared objective."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bellhousing_conformance.check import catalogue
from bellhousing_conformance.checks.soak import k01_memory, k02_drift, k03_left, k04_errors
from bellhousing_conformance.checks.throughput import th1_plateau, th5_caching
from bellhousing_conformance.estimates import attained, estimated, judged_load
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.loads import Load
from bellhousing_conformance.slo import Objective, Slo
from bellhousing_conformance.verdict import Row, Rows, Status
from tests.conformance.load.rows import perfect

JUDGE = estimated("ttft", "tpot")
MIB = 2**20


def noted(run: Run, scenario: str = "load", *, is_gated: bool = True) -> list[Row]:
    """Return the rows of a load as a check notes them and a reader of the samples gets them."""
    info = {"info": msgspec.to_builtins(run.info), "floor": run.floor, "is_gated": is_gated, "confidence": None}
    rows: list[dict[str, Any]] = [{"kind": "run", "scenario": scenario, **info}]
    rows += [{"kind": "sent", "scenario": scenario, "row": msgspec.to_builtins(row)} for row in run.rows]
    return json.loads(json.dumps(rows))  # type: ignore[no-any-return]


def slo(limit: float, **more: Any) -> Slo:
    return Slo(objective=(Objective(metric="ttft", percentile=50, limit=limit),), **more)


def declared(found: Slo) -> Row:
    return {"kind": "slo", "declared": found.model_dump(mode="json")}


def test_a_valid_load_without_an_objective_is_measured_and_tells_its_percentiles() -> None:
    found = JUDGE(noted(perfect()), 0.01)
    assert found.status is Status.MEASURED
    assert 0.15 <= found.figure("load: TTFT p50, s") < 0.2


@pytest.mark.parametrize(("limit", "status"), [(1.0, Status.PASS), (0.05, Status.FAIL)])
def test_a_declared_objective_decides_a_valid_load(limit: float, status: Status) -> None:
    assert JUDGE([declared(slo(limit)), *noted(perfect())], 0.01).status is status


def test_an_invalid_load_decides_nothing_and_says_why() -> None:
    run = perfect()
    found = JUDGE([declared(slo(1.0)), *noted(Run(run.rows[:-3], run.info, run.floor))], 0.01)
    assert found.status is Status.INCONCLUSIVE
    assert any("INVALID: request ledger" in problem for problem in found.problems)


def test_where_sender_and_target_share_a_process_only_the_accounting_counts() -> None:
    run = perfect()
    late = replace(run.info, cpu_seconds=1e6)
    assert JUDGE(noted(Run(run.rows, late, run.floor)), 0.01).status is Status.INCONCLUSIVE
    assert JUDGE(noted(Run(run.rows, late, run.floor), is_gated=False), 0.01).status is Status.MEASURED
    assert JUDGE(noted(Run(run.rows[:-3], late, run.floor), is_gated=False), 0.01).status is Status.INCONCLUSIVE


def test_attainment_counts_failures_as_bad() -> None:
    run = perfect()
    failing = Run([replace(r, code="INTERNAL") if r.index % 2 else r for r in run.rows], run.info, run.floor)
    objectives = declared(slo(10.0, attainment=0.9))
    assert attained([objectives, *noted(run)]).status is Status.PASS
    assert attained([objectives, *noted(failing)]).status is Status.FAIL


def test_a_load_is_held_against_each_objective_by_its_name() -> None:
    found = dict(judged_load(slo(1.0, goodput=1.0, throughput=1000.0), Load("load", perfect(), is_gated=True)))
    assert {name: each.status for name, each in found.items()} == {
        "TTFT p50 at most 1 s": Status.PASS,
        "at least 0.5 of requests good": Status.PASS,
        "at least 1 good requests/s": Status.PASS,
        "at least 1000 tokens/s": Status.FAIL,
    }


def test_a_plateau_is_the_highest_of_the_loops_and_measured_without_an_objective() -> None:
    found = th1_plateau.judge(noted(perfect(), "c=1"), 0.01)
    assert found.status is Status.MEASURED
    assert found.figure("plateau, tokens/s") == pytest.approx(80, rel=0.2)


def test_a_loop_too_slow_for_twenty_requests_is_measured_too() -> None:
    run = perfect(seconds=3.0)
    assert len(run.rows) < 20
    found = th1_plateau.judge(noted(run, "c=1"), 0.01)
    assert found.status is Status.MEASURED


def repeated(ratio: float, late: float = 0.0) -> Rows:
    pairs = [{"kind": "pair", "part": "decode", "new": 1.0, "again": ratio * (1 + n / 1000)} for n in range(12)]
    return [*pairs, *[{"kind": "tick", "seconds": late}] * 20]


def test_repeats_that_are_faster_fail_unless_the_machine_is_noisy() -> None:
    assert th5_caching.judge(repeated(1.0), 0.01).status is Status.PASS
    assert th5_caching.judge(repeated(0.5), 0.01).status is Status.FAIL
    assert th5_caching.judge(repeated(0.5, late=1.0), 0.01).status is Status.INCONCLUSIVE


def soaked(bytes_an_hour: float, noise: float = 0.0, hours: float = 1.0) -> Rows:
    looks = [
        {
            "kind": "held",
            "phase": "during",
            "seconds": n * hours * 36,
            "rss": 1000 * MIB + int(bytes_an_hour * n * hours / 100 + noise * (n * 61 % 7 - 3)),
        }
        for n in range(100)
    ]
    return [{"kind": "soak", "seconds": hours * 3600, "resolution": 0}, *looks]


@pytest.mark.parametrize(
    ("grown", "status"), [(0, Status.PASS), (9 * MIB, Status.PASS), (12 * MIB, Status.FAIL), (500 * MIB, Status.FAIL)]
)
def test_memory_that_grows_by_more_than_a_hundredth_an_hour_fails(grown: float, status: Status) -> None:
    assert k01_memory.judge(soaked(grown), 0.01).status is status


def test_a_soak_too_short_to_tell_a_hundredth_an_hour_decides_nothing() -> None:
    assert k01_memory.judge(soaked(0, noise=MIB, hours=0.01), 0.01).status is Status.INCONCLUSIVE


def tired(change: float) -> Rows:
    run, count = perfect(), len(perfect().rows)
    rows = [replace(r, end_ns=r.end_ns + int(change * r.index / count * (r.end_ns - r.intended_ns))) for r in run.rows]
    return noted(Run(rows, run.info, run.floor), "soak", is_gated=False)


def test_latency_that_rises_by_half_fails_and_steady_latency_passes() -> None:
    assert k02_drift.judge(tired(0.0), 0.01).status is Status.PASS
    assert k02_drift.judge(tired(1.0), 0.01).status is Status.FAIL


def test_one_file_more_than_before_is_left() -> None:
    before = {"kind": "held", "phase": "before", "files": 9, "threads": 4, "running": 0, "queued": 0}
    assert k03_left.judge([before, {**before, "phase": "after", "files": 8}], 0.01).status is Status.PASS
    assert k03_left.judge([before, {**before, "phase": "after", "files": 10}], 0.01).status is Status.FAIL


def test_a_refusal_is_explained_and_any_other_failure_is_not() -> None:
    run, wanted = perfect(), {"kind": "wanted", "requests": 100}

    def spoilt(code: str) -> list[Row]:
        return noted(Run([replace(run.rows[0], code=code), *run.rows[1:]], run.info, run.floor), is_gated=False)

    assert k04_errors.judge([wanted, *spoilt("RESOURCE_EXHAUSTED")], 0.01).status is Status.PASS
    assert k04_errors.judge([wanted, *spoilt("INTERNAL")], 0.01).status is Status.FAIL
    assert k04_errors.judge([{**wanted, "requests": 9999}, *noted(run)], 0.01).status is Status.INCONCLUSIVE


def test_nothing_that_measures_is_asked_of_a_smoke_run() -> None:
    measuring = {"metrics", "latency", "throughput", "soak"}
    assert all(check.tier != "smoke" for check in catalogue() if check.profile in measuring)
    assert {check.tier for check in catalogue() if check.profile == "soak"} == {"full"}
