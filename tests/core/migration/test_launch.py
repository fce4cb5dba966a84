"""Commands, environments and containers as people write them."""

from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.migration import Launch
from bellhousing.migration.launch import read_launch


def launch(*sources: str, stdin: str = "") -> Launch:
    return read_launch(sources, lambda text: text.startswith("%"), lambda: stdin)


def test_a_shell_line_is_split_as_a_shell_does() -> None:
    (command,) = launch("""A=1 serve --name 'two words' --x="y z" # a comment""").commands
    assert command.words == ("serve", "--name", "two words", "--x=y z")


def test_a_script_gives_its_commands_and_its_environment(tmp_path: Path) -> None:
    script = tmp_path / "launch.sh"
    script.write_text("#!/bin/sh\nset -e\nexport A=1\nB='2 3' exec serve \\\n  --flag value &\n")
    found = launch(str(script))
    assert [command.words for command in found.commands] == [("set", "-e"), ("serve", "--flag", "value")]
    assert found.environment == {"A": "1", "B": "2 3"}


def test_a_file_of_variables_needs_no_quotes(tmp_path: Path) -> None:
    file = tmp_path / "variables"
    file.write_text('# comment\nA=one two\nB="quoted"\n')
    assert launch(str(file)).environment == {"A": "one two", "B": "quoted"}


def test_words_after_each_other_are_one_command() -> None:
    (command,) = launch("A=1", "serve", "--text", "two words", "-").commands
    assert command.words == ("serve", "--text", "two words", "-")


def test_standard_input_is_a_source() -> None:
    assert launch("-", stdin="serve --flag\n").commands[0].words == ("serve", "--flag")


def test_a_document_of_the_server_is_kept_whole() -> None:
    assert launch("% two\nlines").documents == ("% two\nlines",)


def test_variables_are_replaced_by_what_any_source_sets_and_others_stay() -> None:
    found = launch("serve --a $ONE --b ${TWO}/x", "ONE=1")
    assert found.commands[0].words == ("serve", "--a", "1", "--b", "${TWO}/x")
    assert "ONE" in found.used


def test_redirects_are_told_and_are_no_words_of_the_command() -> None:
    found = launch("nohup serve --flag > out.log 2>&1 &")
    assert found.commands[0].words == ("serve", "--flag")
    assert [note.source for note in found.notes] == ["> out.log", "2>&1"]


def test_a_text_that_no_shell_reads_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="No closing quotation"):
        launch("serve 'open")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="expected a text file"):
        launch(str(file))


def test_a_container_gives_its_environment_its_mounts_and_the_words_after_the_image() -> None:
    found = launch(
        "docker run --rm -it --gpus all --shm-size=1g -eA=1 -e B -v /data:/models:ro -p 80:80"
        " an/image:1 --model /models/x"
    )
    (command,) = found.commands
    assert command.image == "an/image:1"
    assert command.words == ("--model", "/models/x")
    assert command.host_path("/models/x") == "/data/x"
    assert command.host_path("/modelsx") == "/modelsx"
    assert found.environment == {"A": "1", "B": "$B"}
    assert [note.source for note in found.notes] == ["--gpus all", "--shm-size 1g", "-v /data:/models:ro", "-p 80:80"]
