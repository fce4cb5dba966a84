"""`goodput`, and `run` and `load` with objectives: what they refuse, print and leave."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.cli import commands
from bellhousing_conformance.cli.measuring import Measures

STARTED = ("--start", "simulator", "--option", "first_token_seconds=0.05", "--output-tokens", "4")
OBJECTIVES = 'attainment = 0.7\ngoodput = 1\n[[objective]]\nmetric = "ttft"\npercentile = 50\nlimit = {limit}\n'


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(commands(), [str(argument) for argument in arguments])


def slo(folder: Path, limit: float) -> Path:
    file = folder / "slo.toml"
    file.write_text(OBJECTIVES.format(limit=limit), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_search_tells_each_load_and_goes_on_where_it_broke(tmp_path: Path) -> None:
    flags = ("goodput", *STARTED, "--slo", slo(tmp_path, 5), "--begin", 20, "--seconds", 2, "--most-loads", 1)
    more = ("--seed", 3, "--json", "--output", tmp_path / "out")
    first = json.loads(invoked(*flags, *more).stdout)
    assert len(first["tries"]) == 1
    assert first["tries"][0]["rate"] == 20
    rows = tmp_path / "out" / "load-00" / "sent.jsonl"
    written = rows.stat().st_mtime_ns
    again = json.loads(invoked(*flags, *more, "--resume").stdout)
    assert again == first
    assert rows.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_load_beyond_its_objectives_tells_which_and_exits_with_1_unless_it_is_invalid(tmp_path: Path) -> None:
    flags = ("load", *STARTED, "--rate", 20, "--duration", 4, "--seed", 1, "--output", tmp_path / "out")
    ended = invoked(*flags, "--slo", slo(tmp_path, 0.001), "--json")
    told = json.loads(ended.stdout)
    statuses = {each["objective"]: each["status"] for each in told["objectives"]}
    assert set(statuses) == {
        "TTFT p50 at most 0.001 s",
        "at least 0.7 of requests good",
        "at least 1 good requests/s",
    }
    expected = ("FAIL", 1) if told["verdict"] == "VALID" else ("INCONCLUSIVE", 4)
    assert (statuses["TTFT p50 at most 0.001 s"], ended.exit_code) == expected


def test_an_own_api_that_does_not_answer_leaves_its_check_out_and_is_named(tmp_path: Path) -> None:
    flags = ("run", "--start", "simulator", "--tier", "standard", "--check", "LT6", "--native", "openai=127.0.0.1:1")
    invoked(*flags, "--output", tmp_path / "out")
    [result] = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["checks"]
    assert result["status"] == "NOT_RUN"
    assert "--native and the target: expected both to answer: 127.0.0.1:1" in json.dumps(result)


def test_a_search_without_an_objective_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "slo.toml"
    file.write_text("throughput = 5\n", encoding="utf-8")
    for flags in ((), ("--slo", file)):
        ended = invoked("goodput", "--target", "127.0.0.1:1", *flags, "--output", tmp_path / "out")
        assert isinstance(ended.exception, ConfigurationError)
        assert "expected --slo with an objective" in ended.exception.message


@pytest.mark.parametrize("told", ["openai", "grpc=host:1", "openai="])
def test_an_api_that_is_not_known_is_refused(told: str) -> None:
    with pytest.raises(ConfigurationError, match="--native: expected KIND=ADDRESS with a kind of contract"):
        Measures(native=told).bench("m")


def test_an_api_that_cannot_ignore_the_end_token_is_asked_for_natural_lengths() -> None:
    measures = Measures(native="ollama=http://127.0.0.1:1", capacity=3.0)
    native = measures.bench("m").native
    assert native
    assert (native.kind, native.model, native.natural) == ("ollama", "m", True)
    assert measures.flags() == ["--capacity=3.0", "--native=ollama=http://127.0.0.1:1"]


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--capacity: expected requests a second above 0, found 0"):
        Measures(capacity=0.0).bench("m")
