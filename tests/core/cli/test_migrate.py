"""`bellhousing migrate` as a person and as a script use it."""

import re
import shlex
from pathlib import Path

import pytest

from bellhousing.config import load_config
from tests.core.cli.conftest import Run

DOCUMENT = Path(__file__).parents[3] / "docs" / "migration.md"
LINE = "vllm serve /models/m --max-num-seqs 8"


def test_the_configuration_alone_is_on_standard_output(run: Run, tmp_path: Path) -> None:
    ran = run("migrate", "vllm", LINE)
    assert ran.code == 0, ran.err
    assert ran.out == '[[models]]\nbackend = "vllm"\nmodel = "/models/m"\nbatching = { max_sequences = 8 }\n'
    assert "batching.max_sequences = 8" in ran.err


def test_what_cannot_be_kept_is_told_and_the_exit_code_says_so(run: Run) -> None:
    ran = run("migrate", "vllm", f"{LINE} --trust-remote-code --swap-space 4")
    assert ran.code == 3
    assert "CANNOT BE KEPT  --trust-remote-code" in ran.err
    assert "NOT KNOWN       --swap-space" in ran.err


def test_as_json_every_finding_and_the_file(run: Run) -> None:
    value = run("migrate", "vllm", "--json", LINE).value
    assert value["complete"] is True
    assert value["findings"][1] == {
        "source": "--max-num-seqs 8", "verdict": "kept", "becomes": "batching.max_sequences = 8", "reason": "",
    }  # fmt: skip
    assert 'model = "/models/m"' in value["toml"]


def test_words_after_two_dashes_are_the_command(run: Run) -> None:
    assert run("migrate", "vllm", "--", *LINE.split()).out == run("migrate", "vllm", LINE).out


def test_it_writes_a_new_file_and_never_over_one(run: Run, tmp_path: Path) -> None:
    assert run("migrate", "vllm", "--output", "new.toml", LINE).code == 0
    assert load_config(tmp_path / "new.toml").models[0].model == "/models/m"
    again = run("migrate", "vllm", "--output", "new.toml", LINE)
    assert again.code == 2
    assert "expected a new file, found one" in again.err


def test_secrets_are_in_no_output(run: Run) -> None:
    ran = run("migrate", "vllm", f"{LINE} --api-key hunter2 --hf-token hunter2", "HF_TOKEN=hunter2", "MY_KEY=hunter2")
    assert "hunter2" not in ran.out + ran.err
    assert "sha256" in ran.out


def test_an_unknown_server_is_refused_with_the_known_ones(run: Run) -> None:
    ran = run("migrate", "vlm", LINE)
    assert ran.code == 2
    assert "'vlm'" in ran.err
    assert "vllm reads" in ran.err


def test_nothing_to_read_is_refused(run: Run) -> None:
    ran = run("migrate", "vllm", "-", stdin="\n")
    assert ran.code == 2
    assert "found nothing" in ran.err


@pytest.mark.parametrize("origin", ["vllm", "tgi", "ollama"])
def test_the_example_in_the_documentation_is_what_the_command_prints(run: Run, origin: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    example = re.search(
        rf"```sh\n(bellhousing migrate {origin} .*?)```\n.*?```text\n(.*?)```\n.*?```toml\n(.*?)```", text, re.DOTALL
    )
    assert example
    ran = run(*shlex.split(example[1])[1:])
    assert ran.out == example[3]
    assert [line.rstrip() for line in ran.err.splitlines()] == example[2].splitlines()
