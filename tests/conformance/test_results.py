"""Results of a list of backends: one command, and an absent engine is named as absent."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.cli import commands
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.report.writers import read_report
from bellhousing_conformance.results import collect
from bellhousing_conformance.results.entries import Entry, load_entries

SIMULATOR = '[[target]]\nname = "sim"\nbackend = "simulator"\n'
ABSENT = '[[target]]\nname = "gone"\nbackend = "no-such-backend"\ninstall = "install it"\n'
NO_PYTHON = '[[target]]\nname = "far"\nbackend = "simulator"\npython = "no/such/python"\n'
BROKEN = '[[target]]\nname = "broken"\nbackend = "simulator"\n[target.options]\nno_such_option = 1\n'


def published(folder: Path, *targets: str, more: tuple[str, ...] = ()) -> tuple[int, str]:
    """Return the exit code and the document of the command."""
    config, document = folder / "targets.toml", folder / "RESULTS.md"
    text = "".join(targets)
    config.write_text(text if text.startswith("tier") else f"tier = 'smoke'\n{text}")
    arguments = ["results", "--config", str(config), "--output", str(folder), "--publish", str(document)]
    ended = CliRunner().invoke(commands(), [*arguments, *more, *(() if "--profile" in more else ("--profile", "core"))])
    return ended.exit_code, document.read_text()


@pytest.mark.slow
def test_one_command_judges_what_is_there_and_names_what_is_absent(tmp_path: Path) -> None:
    code, document = published(tmp_path, f"{SIMULATOR}reference = 'no/such/weights'\n", ABSENT, NO_PYTHON)
    assert code == 0
    assert "| profile | sim | gone | far |" in document
    assert re.search(r"\| core \| \*\*PASS\*\* (\d+) of \1 passed \| absent \| absent \|", document)
    assert "- **gone** absent: no backend named 'no-such-backend' is installed" in document
    assert "(install it)" in document
    assert "- **far** absent: there is no interpreter no/such/python" in document
    reproduce = read_report(tmp_path / "sim")[0].checks[0].reproduce
    assert reproduce == "bellhousing conformance run --start=simulator --tier smoke --seed 1 --check C01"
    assert (tmp_path / "matrix.html").is_file()


@pytest.mark.slow
def test_a_broken_run_goes_on_from_the_reports_that_are_there(tmp_path: Path) -> None:
    published(tmp_path, SIMULATOR)
    first = read_report(tmp_path / "sim")[0]
    _, document = published(tmp_path, SIMULATOR, ABSENT, more=("--resume",))
    assert read_report(tmp_path / "sim")[0].began == first.began
    assert "| profile | sim | gone |" in document
    published(tmp_path, SIMULATOR, more=("--resume", "--tier", "standard", "--profile", "lifecycle"))
    assert read_report(tmp_path / "sim")[0].began != first.began


@pytest.mark.slow
def test_a_target_has_its_own_profiles_and_is_compared_with_an_earlier_one(tmp_path: Path) -> None:
    second = '[[target]]\nname = "twin"\nbackend = "simulator"\nagainst = "sim"\nprofiles = ["equivalence"]\n'
    _, document = published(
        tmp_path,
        f"tier = 'standard'\n{SIMULATOR}",
        second + 'remark = "Only this."\n',
        more=("--profile", "equivalence"),
    )
    assert "compared with | none | simulator sim |" in document
    assert "Only this." in document
    assert {str(result.status) for result in read_report(tmp_path / "twin")[0].checks} == {"PASS"}


@pytest.mark.slow
def test_an_earlier_target_without_the_samples_is_asked_again_beside(tmp_path: Path) -> None:
    second = (
        '[[target]]\nname = "twin"\nbackend = "simulator"\nagainst = "sim"\ntier = "full"\nsize = "standard"\n'
        'profiles = ["equivalence"]\n'
    )
    first = f"tier = 'standard'\n{SIMULATOR}"
    _, document = published(tmp_path, first, second, more=("--profile", "equivalence"))
    assert "compared with | none | simulator sim |" in document
    report = read_report(tmp_path / "twin")[0]
    compared = [result for result in report.checks if result.profile == "equivalence"]
    assert [(each.id, str(each.status)) for each in compared] == [(f"Q0{number}", "PASS") for number in range(1, 6)]
    assert "--against=HOST:PORT" in compared[0].reproduce


async def test_an_interpreter_that_does_not_answer_is_said_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "LOOK_SECONDS", 0.05)
    assert (await collect.absence(Entry(name="sim", backend="simulator"))).endswith("its backends: no answer")


def test_what_does_not_start_is_not_called_absent(tmp_path: Path) -> None:
    code, document = published(tmp_path, BROKEN)
    assert code == INFRASTRUCTURE
    assert "- **broken** did not start: " in document
    assert "no_such_option" in document


@pytest.mark.parametrize(("text", "words"), [
    ("", "target"),
    (SIMULATOR + SIMULATOR, "expected each name once, found sim again"),
    ('[[target]]\nname = "../x"\nbackend = "b"\n', "name"),
    ("tier =", "expected TOML"),
    (SIMULATOR + 'against = "later"\n', "sim.against: expected an earlier target .none., found 'later'"),
])  # fmt: skip
def test_a_list_that_is_wrong_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        load_entries(file)


def test_the_projects_list_can_be_read() -> None:
    told = load_entries(Path("docs/conformance/targets.toml"))
    assert [entry.name for entry in told.target][:2] == ["simulator", "llamacpp"]
