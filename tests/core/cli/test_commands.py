"""The client commands against a server, as a person and as a script use them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.cli.conftest import Run


def test_generate_writes_the_text_and_tells_statistics_apart(run: Run, address: str) -> None:
    ran = run("generate", "the", "--max-tokens", "8", "--seed", "1", "-s", address)
    assert ran.code == 0, ran.err
    assert len(ran.out.strip()) > 0
    assert re.search(r"TTFT \d+ ms, 8 tokens, [\d.]+ tokens/s, prompt \d+ tokens.*ended by max_tokens", ran.err)


def test_generate_as_json_is_every_event_as_a_line(run: Run, address: str) -> None:
    ran = run("generate", "the", "--max-tokens", "8", "--seed", "1", "--logprobs", "2", "--json", "-s", address)
    started, *deltas, finished = ran.lines
    text = "".join(line["delta"]["text"] for line in deltas)
    assert started["started"]["effective"]["seed"] == 1
    assert finished["finished"]["usage"]["completion_tokens"] == 8
    plain = run("generate", "the", "--max-tokens", "8", "--seed", "1", "-s", address)
    assert plain.out == text + "\n"
    assert all(len(token["top"]) == 2 for line in deltas for token in line["delta"]["logprobs"])


def test_generate_reads_a_prompt_from_a_pipe_and_token_ids(run: Run, address: str) -> None:
    piped = run("generate", "-", "--max-tokens", "4", "--seed", "1", "-s", address, stdin="ab")
    ids = run("generate", "0, 1", "--token-ids", "--max-tokens", "4", "--seed", "1", "-s", address)
    assert piped.out == ids.out


def test_chat_answers_one_message_and_leaves(run: Run, address: str) -> None:
    ran = run("chat", "hello", "--max-tokens", "6", "-s", address)
    assert ran.code == 0
    assert ran.out.strip()
    assert "TTFT" in ran.err


def test_chat_keeps_a_conversation_until_its_input_ends(run: Run, address: str) -> None:
    ran = run("chat", "--max-tokens", "6", "-s", address, stdin="hello\nand again\n")
    assert ran.code == 0
    prompts = [int(number) for number in re.findall(r"prompt (\d+) tokens", ran.err)]
    assert len(prompts) == 2
    assert prompts[1] > prompts[0] + 6


def test_models_lists_them_and_as_json_every_parameter(run: Run, address: str) -> None:
    assert "sim" in run("models", "-s", address).out
    (model,) = run("models", "--json", "-s", address).value
    names = {parameter["field"] for parameter in model["capabilities"]["parameters"]}
    assert {"text", "chat", "sampling.temperature", "structured_output.choice"} <= names


def test_status_tells_the_load(run: Run, address: str) -> None:
    assert re.search(r"sim +serving +0 of \d+", run("status", "-s", address).out)
    assert run("status", "--json", "-s", address).value[0]["state"] == "MODEL_STATE_SERVING"


def test_backends_and_doctor_tell_what_is_installed(run: Run) -> None:
    names = {backend["backend"] for backend in run("backends", "--json").value}
    assert {"simulator", "llamacpp"} <= names
    findings = {finding["subject"]: finding for finding in run("doctor", "--json").value}
    assert findings["backend llamacpp"]["verdict"] == "ok"
    assert findings["llama.cpp vector instructions"]["found"]


def test_doctor_names_a_plugin_that_cannot_be_imported_and_fails(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "broken-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[bellhousing.plugins]\nbroken = no_such_module\n")
    ran = run("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    finding = next(finding for finding in ran.value if finding["subject"] == "plugin broken")
    assert ran.code == 1
    assert "no_such_module" in finding["found"]
    assert finding["mend"] == "pip install --force-reinstall broken"


def test_a_model_is_unloaded_and_loaded_again(run: Run, address: str) -> None:
    assert run("unload", "sim", "-s", address).code == 0
    refused = run("generate", "a", "-s", address)
    assert refused.code == 1
    assert "sim" in refused.err
    loaded = run("load", "sim", "-s", address)
    assert loaded.code == 0
    assert re.search(r"sim serves after [\d.]+ s", loaded.err)
    assert run("generate", "a", "--max-tokens", "2", "-s", address).code == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["generate", "a", "--temperature", "-1"], ["sampling.temperature", "-1"]),
        (["generate", "a", "--model", "sin"], ["'sin'", "sim"]),
        (["generate", "a", "--adapter", "none"], ["'none'"]),
        (["generate", "a", "--regex", "a+"], ["structured_output.regex"]),
        (["generate", "a", "--regex", "a", "--choice", "b"], ["--regex", "--choice"]),
        (["generate", "a", "--grammar", "@missing.gbnf"], ["missing.gbnf", "--grammar"]),
        (["generate", "", "--token-ids"], ["--token-ids", "found none"]),
        (["generate", "x y", "--token-ids"], ["--token-ids"]),
        (["load", "nothing"], ["'nothing'", "sim"]),
    ],
)
def test_what_is_wrong_is_named_and_the_exit_code_says_so(
    run: Run, address: str, arguments: list[str], named: list[str]
) -> None:
    ran = run(*arguments, "-s", address)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert all(part in ran.err for part in named), ran.err
    assert "Traceback" not in ran.err


def test_a_server_that_is_not_there_may_be_there_later(run: Run) -> None:
    ran = run("status", "-s", "127.0.0.1:1")
    assert ran.code == 1
    assert "no server can be reached at 127.0.0.1:1" in ran.err
    assert "bellhousing serve" in ran.err


def test_every_command_has_help_with_an_example(run: Run, explained: Callable[..., str]) -> None:
    listed = re.findall(r"^│? *([a-z][a-z-]+) {2,}", run("--help").out.partition("Commands")[2], re.MULTILINE)
    assert {"serve", "generate", "chat", "models", "status", "backends", "doctor", "new-backend"} <= set(listed)
    for command in {*listed} - {"version"}:
        help_text = explained(command)
        assert "Example" in help_text, command
        assert f"bellhousing {command}" in help_text, command
