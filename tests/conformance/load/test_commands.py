"""`load` and `load-check`: what they refuse, print and leave."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.cli import commands
from bellhousing_conformance.cli.loading import Asking, When
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.record import REPORT_FILE, write_load
from bellhousing_conformance.load.report import disagreements, judged, report_of, write_load_report
from bellhousing_conformance.load.workload import Workload
from tests.conformance.load.rows import FLOOR, perfect

ENDPOINT = Endpoint("contract", "127.0.0.1:1")
STARTED = ("load", "--start", "simulator", "--option", "first_token_seconds=0.05", "--output-tokens", "4")


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(commands(), [str(argument) for argument in arguments])


def test_a_run_prints_its_verdict_and_leaves_what_it_follows_from(tmp_path: Path) -> None:
    ended = invoked(*STARTED, "--rate", 20, "--duration", 3, "--seed", 1, "--goodput", "ttft=1", "--output", tmp_path)
    assert ended.exit_code in {0, 4}  # the machine decides whether it is VALID
    assert "request ledger" in ended.output
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "load.html", "load.json", "run.json", "sent.jsonl",
    ]  # fmt: skip
    assert disagreements(tmp_path) == []


def test_a_closed_loop_is_called_capacity_only(tmp_path: Path) -> None:
    ended = invoked(*STARTED, "--concurrency", 2, "--duration", 2, "--json", "--output", tmp_path)
    assert json.loads(ended.stdout)["scenario"] == "closed loop of 2: capacity only"


def test_nobody_there_exits_with_3_and_leaves_no_report_not_even_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / REPORT_FILE).write_text("{}")
    ended = invoked("load", "--target", "127.0.0.1:1", "--concurrency", 1, "--output", tmp_path)
    assert ended.exit_code == 3
    assert not (tmp_path / REPORT_FILE).exists()


@pytest.mark.parametrize(("flags", "words"), [
    ({}, "expected exactly one of --rate, --phase, --trace, --concurrency, found none"),
    ({"rate": 1.0, "concurrency": 2}, "found --rate, --concurrency"),
    ({"rate": 0.0}, "expected a rate above 0"),
    ({"rate": 1.0, "arrivals": "uniform"}, "expected poisson, gamma or trace, found 'uniform'"),
    ({"rate": 1.0, "arrivals": "trace"}, "--arrivals trace and --trace together"),
    ({"trace": Path("t"), "arrivals": "trace"}, "--trace-format: expected one of azure"),
    ({"trace": Path("t"), "arrivals": "trace", "trace_format": "azure"}, "expected a file"),
    ({"concurrency": 2, "ramp": 5.0}, "expected a rate that they lead to, found --concurrency"),
    ({"phase": ["5:10"], "duration": 3.0}, "expected --phase or --duration, found both"),
    ({"phase": ["5:x"]}, "--phase: expected a number, found 'x'"),
    ({"rate": 1.0, "arrivals": "gamma", "cv": 0.0}, "coefficient of variation"),
    ({"concurrency": 0}, "expected a concurrency of at least 1"),
    ({"concurrency": 2, "duration": 0.0}, "a number of seconds above 0, found 2 and 0"),
    ({"concurrency": 2, "duration": float("inf")}, "a number of seconds above 0, found 2 and inf"),
])  # fmt: skip
def test_flags_that_do_not_go_together_are_refused(flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        When(**flags).job(ENDPOINT, Workload(), 1)  # type: ignore[arg-type]


def test_a_ramp_and_a_warm_up_come_before_what_is_measured() -> None:
    job = When(phase=["4..8:10", "8:5"], ramp=2.0, warm_up=3.0).job(ENDPOINT, Workload(), 1)
    assert [(phase.name, phase.rate, phase.end_rate, phase.is_measured) for phase in job.phases] == [
        ("ramp", 0, 4, False),
        ("warm-up", 4, 4, False),
        ("phase-1", 4, 8, True),
        ("phase-2", 8, 8, True),
    ]
    assert job.phases[-1].end_ns == 20_000_000_000


@pytest.mark.parametrize(("flags", "words"), [
    ({"prompt_tokens": "5-3"}, "--prompt-tokens: expected N or N-M"),
    ({"output_tokens": "many"}, "--output-tokens: expected N or N-M"),
    ({"prefixes": 2}, "expected prefixes and prefix_tokens together"),
    ({"tokens_per_word": 0.0}, "tokens_per_word"),
])  # fmt: skip
def test_a_workload_that_cannot_be_is_refused(flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Asking(**flags).workload()  # type: ignore[arg-type]


def test_a_goodput_of_a_metric_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no metric is named 'ttfx'"):
        Asking(goodput="ttfx=1").limits()
    with pytest.raises(ConfigurationError, match="--goodput: expected a number, found 'fast'"):
        Asking(goodput="ttft=fast").limits()
    assert Asking(goodput="ttft=0.5, tpot=0.1").limits() == {"ttft": 0.5, "tpot": 0.1}


def test_base_is_the_model_without_an_adapter() -> None:
    assert Asking(adapter=["base", "a"]).workload().adapters == ("", "a")


def test_a_report_follows_from_the_rows_alone(tmp_path: Path) -> None:
    run = perfect()
    write_load(run.rows, run.info, tmp_path)
    report = report_of(tmp_path, floor=FLOOR, limits={"ttft": 0.3})
    assert report.verdict == "VALID"
    write_load_report(report, tmp_path)
    assert disagreements(tmp_path) == []
    write_load_report(report.model_copy(update={"tokens_per_second": 1.0}), tmp_path)
    assert [fault.partition(":")[0] for fault in disagreements(tmp_path)] == ["tokens_per_second"]


def test_verify_computes_a_load_run_again(tmp_path: Path) -> None:
    run = perfect()
    write_load(run.rows, run.info, tmp_path)
    report = report_of(tmp_path, floor=FLOOR)
    write_load_report(report, tmp_path)
    assert invoked("verify", tmp_path).exit_code == 0
    write_load_report(report.model_copy(update={"requests": 1}), tmp_path)
    ended = invoked("verify", tmp_path)
    assert ended.exit_code == 1
    assert "requests: expected" in ended.output


def test_rows_that_were_changed_afterwards_do_not_agree_with_their_report(tmp_path: Path) -> None:
    run = perfect()
    write_load(run.rows, run.info, tmp_path)
    write_load_report(report_of(tmp_path, floor=FLOOR), tmp_path)
    write_load(run.rows[:-1], run.info, tmp_path)
    assert {"verdict", "rows_sha256"} <= {fault.partition(":")[0] for fault in disagreements(tmp_path)}


def test_an_invalid_run_says_why() -> None:
    run = perfect()
    report = judged(run.rows[:-1], run.info, floor=FLOOR)
    assert report.verdict == "INVALID"
    assert "request ledger: expected" in report.reasons[0]


def test_a_percentile_among_the_failures_is_beyond_the_deadline() -> None:
    run = perfect()
    failed = [row if row.index % 5 else replace(row, code="INTERNAL") for row in run.rows]
    found = {(e.metric, e.percent): e for e in judged(failed, run.info).estimates}
    assert found["ttft/1", 90].value is None
    assert found["ttft/1", 90].text.startswith(">60 s")
    assert found["ttft/1", 50].value is not None


@pytest.mark.parametrize(("flags", "is_trace", "words"), [
    ({"prompt_tokens": "64", "turns": 2}, True, "--prompt-tokens, --turns: no effect with --trace"),
    ({"output_tokens": "8", "think": 1.0}, True, "--output-tokens, --think: no effect with --trace"),
    ({"prefixes": 2, "prefix_tokens": 5}, True, "--prefixes, --prefix-tokens: no effect with --trace"),
    ({"context_length": 100}, False, "--context-length: no effect without --trace"),
])  # fmt: skip
def test_a_flag_without_effect_is_refused_by_name(flags: dict[str, object], is_trace: bool, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Asking(**flags).check(is_trace=is_trace)  # type: ignore[arg-type]
    Asking(**flags).check(is_trace=not is_trace)  # type: ignore[arg-type]


def test_a_load_with_a_flag_without_effect_does_not_begin(tmp_path: Path) -> None:
    ended = invoked(*STARTED, "--rate", 5, "--context-length", 100, "--output", tmp_path / "out")
    assert isinstance(ended.exception, ConfigurationError)
    assert not (tmp_path / "out").exists()
