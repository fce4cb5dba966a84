"""`compare`: what it refuses, prints and leaves."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.cli import commands
from bellhousing_conformance.compare.comparison import COMPARISON_FILE, comparison_of
from bellhousing_conformance.compare.writers import write_forms
from tests.conformance.compare.folders import PAIRS, compared, settings


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(commands(), [str(argument) for argument in arguments])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_backends_are_started_and_compared_and_the_folder_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    slow = ("--option-a", "first_token_seconds=0.12", "--option-b", "first_token_seconds=0.1")
    more = ("--pairs", 1, "--block", 3, "--rate", 8, "--output-tokens", 4, "--seed", 1)
    ended = invoked("compare", "simulator", "simulator", *slow, *more, "--output", folder, "--json")
    assert ended.exit_code == 4  # one pair decides nothing
    told = json.loads(ended.stdout)
    assert told["precision"].startswith("iso-precision")
    assert "1 pairs of 3 blocks of 3 s: about 18 s" in ended.stderr
    assert "cpu_per_token" in told["blocks"][0]["figures"]
    assert invoked("verify", folder).exit_code == 0
    names = {file.name for file in folder.iterdir()}
    assert {"comparison.json", "comparison.md", "comparison.html", "settings.json", "sides.json", "blocks"} <= names
    before = len(list((folder / "blocks").iterdir()))
    again = invoked("compare", "--resume", folder, "--pairs", 1)
    assert again.exit_code == 4
    assert len(list((folder / "blocks").iterdir())) == before


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "expected A and B, or --resume; found no A and B"),
    (("simulator",), "found no B"),
    (("simulator", "simulator", "--option-a", "x"), "--option 'x': expected KEY=VALUE"),
    (("simulator", "simulator", "--client-a", "openai"), "a server that is started speaks the contract"),
    (("h:1", "h:2", "--prompt-tokens", "many"), "--prompt-tokens: expected N or N-M"),
    (("h:1", "h:2", "--rate", "0.1"), "expected at least 11 requests in the open loop"),
    (("h:1", "h:2", "--share", "2"), "share"),
    (("simulator", "simulator", "--rate", "20000"), "rate: Input should be less than or equal to 10000"),
    (("simulator", "simulator", "--rate", "inf"), "rate"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_anything_is_started(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    ended = invoked("compare", *arguments, "--output", tmp_path / "none")
    assert isinstance(ended.exception, ConfigurationError)
    assert words in str(ended.exception)
    assert not (tmp_path / "none").exists()


def test_nobody_there_exits_with_3(tmp_path: Path) -> None:
    ended = invoked("compare", "127.0.0.1:1", "127.0.0.1:1", "--rate", 5, "--output", tmp_path / "none")
    assert ended.exit_code == 3
    assert "no server can be reached" in ended.stderr


def test_a_mistake_in_a_side_leaves_the_folder_free(tmp_path: Path) -> None:
    for wrong in ("simulatr", "another"):  # the second is not refused for the first
        ended = invoked("compare", "simulator", wrong, "--rate", 5, "--output", tmp_path / "out")
        assert f"no backend named {wrong!r}" in str(ended.exception)


def test_other_settings_than_it_was_begun_with_are_refused_by_name(tmp_path: Path) -> None:
    compared(tmp_path, {"a": 1, "b": 1, "again": 1}, pairs=1)
    ended = invoked("compare", "--resume", tmp_path, "--block", 20)
    assert isinstance(ended.exception, ConfigurationError)
    assert "block_seconds: expected 12.0, found 20.0" in str(ended.exception)


def test_verify_names_a_figure_that_does_not_follow_and_exits_with_1(tmp_path: Path) -> None:
    compared(tmp_path, {"a": 1.3, "b": 1, "again": 1.3})
    write_forms(comparison_of(tmp_path), tmp_path)
    ended = invoked("verify", tmp_path)
    assert (ended.exit_code, ended.stdout.strip()) == (0, "comparison: every figure follows from the rows")
    file = tmp_path / COMPARISON_FILE
    file.write_text(file.read_text().replace('"worse"', '"better"'))
    ended = invoked("verify", tmp_path)
    assert ended.exit_code == 1
    assert ended.stdout.startswith("metrics: expected")


def test_the_page_is_one_file_with_every_metric_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    compared(tmp_path, {"a": 1.3, "b": 1, "again": 1.3})
    write_forms(comparison_of(tmp_path), tmp_path)
    page = (tmp_path / "comparison.html").read_text()
    for title in ("TTFT p50", "TPOT p50", "E2E p50", "throughput", "Ratios over the noise floor"):
        assert title in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("<polyline") == 6  # TTFT and latency of A, B and A again
    assert page.count('<circle class="block') == 4 * 3 * PAIRS


def test_markdown_has_a_row_of_each_metric_with_its_sentence(tmp_path: Path) -> None:
    compared(tmp_path, {"a": 1.3, "b": 1, "again": 1.3}, noise=0.001)
    write_forms(comparison_of(tmp_path), tmp_path)
    text = (tmp_path / "comparison.md").read_text()
    assert "| **slower** | A/B TTFT p50 1.30" in text
    assert f"{settings().pairs} pairs, A/A floor" in text
