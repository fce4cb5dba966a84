"""A search for the goodput as a document: it follows from the rows of its loads, and is gone on with by the same."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.cli import commands
from bellhousing_conformance.cli.goodput import write_goodput
from bellhousing_conformance.goodput import Limits, Try, decided, following
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.record import write_load
from bellhousing_conformance.load.workload import Lengths, Workload
from bellhousing_conformance.loads import Load
from bellhousing_conformance.report.html import goodput_html
from bellhousing_conformance.report.search import (
    SEARCH_FILE,
    SEARCH_PAGE,
    Asked,
    Goodput,
    disagreements,
    goodput_of,
    load_folder,
    read_goodput,
    require_same,
)
from bellhousing_conformance.slo import Slo
from bellhousing_conformance.verdict import Status
from tests.conformance.load.rows import FLOOR, perfect

OBJECTIVES = {"attainment": 0.7, "objective": ({"metric": "ttft", "percentile": 90, "limit": 5.0},)}
START = 5.0
"""The rate of the perfect run."""


def asked(**told: object) -> Asked:
    values = {
        "target": "127.0.0.1:1", "started": {}, "model": "m", "client": "contract", "deadline": 60.0,
        "workload": Workload(), "slo": Slo.model_validate(OBJECTIVES), "seed": perfect().info.seed, "start": START,
        "seconds": 20.0, "limits": Limits(start=START, most_loads=1),
    }  # fmt: skip
    return Asked.model_validate(values | told)


def searched(folder: Path, question: Asked | None = None) -> Goodput:
    """Write a search of one load, as it would have left it; return it."""
    question, run = question or asked(), perfect()
    run = Run(run.rows, replace(run.info, deadline_seconds=question.deadline), FLOOR)
    write_load(run.rows, run.info, load_folder(folder, 0))
    tries = [decided(Load("load 0", run, is_gated=True), START, question.slo)]
    found = goodput_of(question, tries, [FLOOR])
    write_goodput(found, folder)
    return found


def verified(folder: Path) -> Result:
    return CliRunner().invoke(commands(), ["verify", str(folder)])


def test_a_search_follows_from_the_rows_of_its_loads(tmp_path: Path) -> None:
    assert searched(tmp_path).tries[0].outcome == "holds"
    ended = verified(tmp_path)
    assert (ended.exit_code, ended.stdout.strip()) == (0, "search: every figure follows from the rows")


@pytest.mark.parametrize(("before", "after", "words"), [
    ('"holds"', '"misses"', "load 0: outcome: expected holds, found misses"),
    ('"status": "MEASURED"', '"status": "PASS"', "status: expected MEASURED, found PASS"),
    ('"start": 5.0', '"start": 6.0', "load 0: rate: expected 6.0, found 5.0"),
    ('"deadline": 60.0', '"deadline": 1.0', "load 0: deadline: expected 1.0, found 60.0"),
])  # fmt: skip
def test_a_search_that_tells_something_else_is_refuted(before: str, after: str, words: str, tmp_path: Path) -> None:
    searched(tmp_path)
    file = tmp_path / SEARCH_FILE
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    assert words in disagreements(tmp_path)
    assert verified(tmp_path).exit_code == 1


def test_a_search_whose_rows_are_gone_is_not_borne_out(tmp_path: Path) -> None:
    searched(tmp_path)
    (load_folder(tmp_path, 0) / "sent.jsonl").unlink()
    with pytest.raises(ConfigurationError, match="expected a file"):
        disagreements(tmp_path)


def test_a_search_that_was_broken_off_decides_nothing() -> None:
    question = asked(limits=Limits(start=START, most_loads=5))
    tries = [Try(rate=START, outcome="holds", share=1.0, low=0.9, n=50)]
    assert following(tries, question.limits)
    found = goodput_of(question, tries, [None])
    assert (found.status, found.problems) == (Status.INCONCLUSIVE, ("the search is not finished",))


def test_another_question_is_refused_by_each_key_that_is_another(tmp_path: Path) -> None:
    require_same(asked(), asked(), tmp_path)
    other = asked(
        deadline=1.0, client="openai", started={"option": "first_token_seconds=0.9"},
        workload=Workload(output_tokens=Lengths(low=4, high=4)),
    )  # fmt: skip
    with pytest.raises(ConfigurationError) as refused:
        require_same(asked(), other, tmp_path)
    for words in (
        'client: expected "contract", found "openai"',
        "deadline: expected 60.0, found 1.0",
        'started.option: expected none, found "first_token_seconds=0.9"',
        "workload.output_tokens.low: expected 32, found 4",
    ):
        assert words in refused.value.message


def test_a_search_is_not_gone_on_with_on_a_server_that_was_started_otherwise(tmp_path: Path) -> None:
    started = {"option": "", "python": "", "tensor_parallel": "1", "max_sequences": "0"}
    searched(tmp_path, asked(target="simulator", model="", started=started))
    slo = tmp_path / "slo.toml"
    slo.write_text('attainment = 0.7\n[[objective]]\nmetric = "ttft"\npercentile = 90\nlimit = 5.0\n', encoding="utf-8")
    ended = CliRunner().invoke(commands(), [
        "goodput", "--start", "simulator", "--option", "first_token_seconds=0.9", "--deadline", "1", "--slo", str(slo),
        "--most-loads", "1", "--resume", "--output", str(tmp_path),
    ])  # fmt: skip
    assert isinstance(ended.exception, ConfigurationError)
    assert "deadline: expected 60.0, found 1.0" in ended.exception.message
    assert 'started.option: expected "", found "first_token_seconds=0.9"' in ended.exception.message


def test_the_page_has_each_load_with_its_interval_and_what_was_asked(tmp_path: Path) -> None:
    found = searched(tmp_path)
    page = (tmp_path / SEARCH_PAGE).read_text(encoding="utf-8")
    assert page == goodput_html(read_goodput(tmp_path))
    [only] = found.tries
    assert f"{only.low * 100:.1f} to {only.high * 100:.1f} %" in page
    assert 'aria-label="The search, load by load: holds, misses, undecided, order"' in page
    assert "ttft of at most 5.0 s" in page


def test_a_search_without_a_load_has_a_page(tmp_path: Path) -> None:
    assert "No load was sent yet." in goodput_html(goodput_of(asked(), [], []))


@pytest.mark.parametrize(("flags", "words"), [
    (("--goodput", "ttft=1"), "--goodput: expected the limits in --slo"),
    (("--context-length", "100"), "--context-length: no effect without --trace"),
])  # fmt: skip
def test_a_flag_without_effect_is_refused(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    slo = tmp_path / "slo.toml"
    slo.write_text('[[objective]]\nmetric = "ttft"\npercentile = 90\nlimit = 5.0\n', encoding="utf-8")
    ended = CliRunner().invoke(commands(), ["goodput", "--target", "127.0.0.1:1", "--slo", str(slo), *flags])
    assert isinstance(ended.exception, ConfigurationError)
    assert words in ended.exception.message
