"""`diff` and `matrix`: what they print, what they write, how they exit."""

import asyncio
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.cli import commands
from bellhousing_conformance.cli.measuring import Measures
from bellhousing_conformance.cli.running import What, Whom
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.writers import write_report
from bellhousing_conformance.verdict import Status
from tests.conformance.test_pages import report_of, whole


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(commands(), [str(argument) for argument in arguments])


def written(folder: Path, report: ConformanceReport) -> Path:
    write_report(report, folder)
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return written(tmp_path / "good", report_of(*whole()))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return written(tmp_path / "bad", report_of(*whole(Status.FAIL), backend="other"))


def test_diff_tells_what_fails_now_and_exits_with_1(good: Path, bad: Path) -> None:
    ended = invoked("diff", good, bad)
    assert ended.exit_code == 1
    assert "now fails" in ended.output
    assert "subject backend" in ended.output


def test_diff_of_equal_reports_exits_with_0(good: Path) -> None:
    ended = invoked("diff", good, good)
    assert ended.exit_code == 0
    assert "every check came out as before" in ended.output


def test_diff_writes_a_page_and_markdown(good: Path, bad: Path, tmp_path: Path) -> None:
    page, text = tmp_path / "new" / "d.html", tmp_path / "d.md"
    invoked("diff", good, bad, "--html", page, "--markdown", text)
    assert "What differs: m on b and m on other" in page.read_text()
    assert "| C01 | PASS | FAIL | now fails |" in text.read_text()


def test_matrix_puts_reports_side_by_side(good: Path, bad: Path, tmp_path: Path) -> None:
    page, text = tmp_path / "m.html", tmp_path / "m.md"
    ended = invoked("matrix", good, bad, "--html", page, "--markdown", text)
    assert ended.exit_code == 0
    assert "Not conformant" in ended.output
    assert "Conformance of 2 backends" in page.read_text()
    assert "| conformance | **Conformant** | **Not conformant** |" in text.read_text()


def test_a_run_against_a_target_that_is_down_exits_with_3_and_leaves_a_report(tmp_path: Path) -> None:
    ended = invoked("run", "--target", "127.0.0.1:1", "--tier", "smoke", "--output", tmp_path)
    assert ended.exit_code == 3
    assert "no server can be reached" in (tmp_path / "report.html").read_text()


def test_the_command_that_reproduces_names_everything_that_decided_and_no_secret() -> None:
    whom = Whom(target="127.0.0.1:1", ca=Path("ca.pem"), token="secret", silence=5)
    assert whom.flags() == ["--target=127.0.0.1:1", "--ca=ca.pem", "--silence=5"]


def test_the_command_that_reproduces_asks_the_same(tmp_path: Path) -> None:
    task, known = tmp_path / "task.jsonl", tmp_path / "known.toml"
    task.write_text('{"prompt": "one and one is", "answer": "two"}\n')
    known.write_text('[[known]]\ncheck = "C03"\nissue = "https://example.org/1"\nexpires = 2020-01-31\n')
    asked = [f"--known-issues={known}", "--against=127.0.0.1:2", f"--task-file={task}"]
    wanted = ["--target=127.0.0.1:1", *asked, "--record", "--tier", "smoke", "--seed", "7"]
    assert What(reference=Path("weights")).flags() == ["--reference=weights"]
    plan = What(known_issues=known, against="127.0.0.1:2", task_file=task, record=True, seed=7).plan(
        Whom(target="127.0.0.1:1"), Measures()
    )
    assert plan.reproduce == shlex.join(["bellhousing", "conformance", "run", *wanted])


def test_a_silence_is_also_that_of_a_server_that_is_started() -> None:
    async def silence() -> float:
        whom = Whom(start="simulator", silence=7)
        async with whom.reached(whom.silence) as target:
            return target.silence

    assert asyncio.run(silence()) == 7


@pytest.mark.parametrize(("flags", "words"), [
    (("--config=t.toml", "--model=m", "--silence=60", "--token=t", "--ca=ca.pem"),
     "--config goes without --model, --token, --ca, --silence: the file says it"),
    (("--target=127.0.0.1:1", "--option=a=1", "--max-sequences=2"), "--target goes without --option, --max-sequences"),
    (("--start=simulator", "--metrics=http://127.0.0.1:1/metrics", "--token=t"),
     "--start goes without --metrics, --token"),
])  # fmt: skip
def test_a_flag_that_would_have_no_effect_is_refused(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    ended = invoked("run", *flags, "--output", tmp_path)
    assert isinstance(ended.exception, ConfigurationError)
    assert words in ended.exception.message


def test_a_token_of_the_environment_is_there_for_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    async def address() -> str:
        async with Whom(start="simulator", token="t").reached() as target:
            return target.where.address

    monkeypatch.setenv("BELLHOUSING_TOKEN", "t")
    assert asyncio.run(address())


@pytest.mark.parametrize(("flags", "words"), [
    (("--target=127.0.0.1",), "target '127.0.0.1': expected HOST:PORT"),
    (("--target=127.0.0.1:99999",), "target '127.0.0.1:99999': expected HOST:PORT"),
    (("--target=127.0.0.1:1", "--against=b"), "target 'b': expected HOST:PORT"),
    (("--start=simulator", "--python=no/such/python"), "interpreter 'no/such/python': expected a program that runs"),
    (("--target=127.0.0.1:1", "--output=taken"), "'taken': expected a place to write to, found File exists"),
    (("--target=127.0.0.1:1", "--output=taken/below"), "expected a place to write to, found Not a directory"),
    (("--target=127.0.0.1:1", "--known-issues=known.toml"), "expected the id of a check, found 'ZZ9'"),
])  # fmt: skip
def test_a_mistake_of_the_operator_is_told_before_the_run(
    flags: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    Path("known.toml").write_text('[[known]]\ncheck = "ZZ9"\nissue = "https://example.org/1"\nexpires = 2020-01-31\n')
    ended = invoked("run", "--check=C03", *flags)
    assert isinstance(ended.exception, ConfigurationError), ended.exception
    assert words in ended.exception.message
    assert not Path("conformance-report/report.json").exists()


def test_a_page_that_cannot_be_written_is_a_mistake_of_the_operator(good: Path) -> None:
    ended = invoked("diff", good, good, "--html", good / "report.json" / "d.html")
    assert isinstance(ended.exception, ConfigurationError)


@pytest.mark.parametrize("name", ["report.xml", "report.html", "report.json", "samples/C01-1.jsonl"])
def test_a_disk_that_takes_no_more_is_named_and_leaves_no_form_of_the_report(good: Path, name: str) -> None:
    full = good / f"{name}.part"
    full.parent.mkdir(exist_ok=True)
    full.symlink_to("/dev/full")
    ended = invoked("run", "--start", "simulator", "--check", "C01", "--output", good)
    assert isinstance(ended.exception, ConfigurationError)
    assert f"{str(good / name)!r} cannot be written: No space left on device" in ended.exception.message
    assert not (good / name).exists()
    if not name.startswith("samples"):
        assert [file.name for file in good.iterdir() if file.name.startswith("report")] == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written: Not a directory"):
        write_report(report_of(*whole()), tmp_path / "file" / "out")
