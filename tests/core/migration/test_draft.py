"""Settings are put together one by one, and only those that make a valid configuration."""

import tomllib
from pathlib import Path

import pytest

from bellhousing.config import load_config
from bellhousing.migration import Draft, Outcome, already, lost, to
from bellhousing.migration.findings import is_secret, shown
from bellhousing_simulator import SimulatorBackend


@pytest.fixture
def draft() -> Draft:
    return Draft(SimulatorBackend)


def test_what_was_taken_is_a_configuration_that_loads(draft: Draft, tmp_path: Path) -> None:
    draft.take("--seqs", "8", to("batching.max_sequences", int))
    draft.take("--end", "0.5", to("options.end_probability", float))
    draft.take("--port", "8000", to("server.port", int, "another protocol"))
    migration = draft.finished()
    file = tmp_path / "bellhousing.toml"
    file.write_text(migration.toml())
    config = load_config(file)
    assert config.server.port == 8000
    assert config.models[0].batching.max_sequences == 8
    assert config.models[0].options == {"end_probability": 0.5}
    assert [finding.verdict for finding in migration.findings] == ["kept", "kept", "changed"]
    assert migration.is_complete


@pytest.mark.parametrize(
    ("path", "value"), [("batching.max_sequences", "0"), ("options.end_probability", "7"), ("options.nothing", "1")]
)
def test_a_setting_that_is_not_valid_is_left_out_and_told(draft: Draft, path: str, value: str) -> None:
    draft.take("--flag", value, to(path, int))
    migration = draft.finished()
    assert tomllib.loads(migration.toml()) == {"models": [{"backend": "simulator"}]}
    assert migration.findings[0].verdict == "lost"
    assert path.rpartition(".")[2] in migration.findings[0].reason
    assert not migration.is_complete


def test_of_two_values_the_first_stays_and_the_second_is_told(draft: Draft) -> None:
    draft.take("--a", "1", to("batching.max_sequences", int))
    draft.take("--b", "2", to("batching.max_sequences", int))
    migration = draft.finished()
    assert "max_sequences = 1" in migration.toml()
    assert migration.findings[1].verdict == "lost"


def test_a_value_with_an_unknown_variable_sets_nothing(draft: Draft) -> None:
    draft.take("--name", "$NAME", to("name"))
    (finding,) = draft.finished().findings
    assert finding.verdict == "lost"
    assert "NAME=VALUE" in finding.reason


def test_a_value_that_a_parser_refuses_is_not_repeated(draft: Draft) -> None:
    draft.take("--api-key", "hunter2", to("batching.max_sequences", int))
    assert "hunter2" not in repr(draft.finished().findings)


def test_a_rule_for_what_holds_already_tells_when_it_does_not(draft: Draft) -> None:
    rule = already("it is so", "yes", otherwise="never")
    assert rule("yes").verdict == "kept"
    assert rule("no") == Outcome(verdict="lost", reason="never") == lost("never")("")


@pytest.mark.parametrize(
    "name", ["--api-key", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "--hf-token", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"]
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert is_secret(name)
    assert shown(name, "hunter2", "=") == f"{name}=***"


@pytest.mark.parametrize("name", ["--max-num-batched-tokens", "--tokenizer", "--ssl-keyfile", "OLLAMA_KEEP_ALIVE"])
def test_names_of_other_things_are_not(name: str) -> None:
    assert not is_secret(name)
