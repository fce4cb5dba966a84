"""Environments and Modelfiles of Ollama become configurations whose options are valid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhousing.config import ModelConfig
from bellhousing.migration import Draft, Migration
from bellhousing.migration.launch import read_launch
from bellhousing_ollama import OllamaBackend
from bellhousing_ollama.migration import ORIGIN, PARAMETERS, VARIABLES, instructions, is_modelfile
from bellhousing_ollama.options import OllamaOptions

MODELFILE = '''# a comment
FROM ./model.gguf
parameter num_ctx 4000
PARAMETER temperature 0.7
PARAMETER stop "USER:"
PARAMETER mirostat 1
SYSTEM """You are
a secret prompt."""
TEMPLATE "{{ .Prompt }}"
ADAPTER /adapters/sql.gguf
LICENSE MIT
'''


def migrated(*sources: str) -> Migration:
    draft = Draft(OllamaBackend)
    ORIGIN.read(read_launch(sources, ORIGIN.is_document, str), draft)
    return draft.finished()


def loaded(migration: Migration) -> tuple[ModelConfig, OllamaOptions]:
    model = ModelConfig.model_validate(migration.tables["model"])
    return model, OllamaOptions.model_validate(model.options)


def verdict(migration: Migration, start: str) -> str:
    return next(finding.verdict for finding in migration.findings if finding.source.startswith(start))


def test_the_environment_becomes_settings() -> None:
    migration = migrated(
        "OLLAMA_NUM_PARALLEL=4", "OLLAMA_CONTEXT_LENGTH=8192", "OLLAMA_KV_CACHE_TYPE=q8_0", "OLLAMA_LOAD_TIMEOUT=1m30s",
        "OLLAMA_FLASH_ATTENTION=1", "OLLAMA_MAX_QUEUE=64", "OLLAMA_HOST=127.0.0.1:11500", "ollama serve",
    )  # fmt: skip
    model, options = loaded(migration)
    assert (model.batching.max_sequences, model.admission.max_queued) == (4, 64)
    assert (options.context_per_sequence, options.kv_cache_type, options.load_seconds) == (8192, "q8_0", 90)
    assert options.flash_attention == "on"
    assert migration.tables["server"] == {"host": "127.0.0.1", "port": 11500}


def test_a_modelfile_becomes_settings_and_what_clients_send_is_told() -> None:
    migration = migrated(MODELFILE)
    model, options = loaded(migration)
    assert model.model == "./model.gguf"
    assert (options.context_per_sequence, options.adapters) == (4096, 1)
    told = {finding.source.split(" 0")[0]: finding for finding in migration.findings}
    assert "sampling.temperature" in told["PARAMETER temperature"].reason
    assert verdict(migration, "PARAMETER mirostat") == "lost"
    assert verdict(migration, "SYSTEM") == "lost"
    assert verdict(migration, "LICENSE") == "kept"


def test_prompts_of_a_modelfile_are_never_shown() -> None:
    assert "secret prompt" not in repr(migrated(MODELFILE).findings)


def test_a_value_in_triple_quotes_has_many_lines() -> None:
    assert dict(instructions(MODELFILE))["SYSTEM"] == "You are\na secret prompt."


def test_a_model_by_name_is_pulled() -> None:
    assert loaded(migrated("ollama run llama3.2:1b"))[1].pull == "llama3.2:1b"
    assert loaded(migrated("FROM llama3.2:1b"))[1].pull == "llama3.2:1b"


@pytest.mark.parametrize("variable", ["OLLAMA_SCHED_SPREAD=1", "OLLAMA_KEEP_ALIVE=5m", "OLLAMA_HOST=0.0.0.0"])
def test_what_has_no_place_here_is_told(variable: str) -> None:
    assert verdict(migrated(variable), variable.partition("=")[0]) == "lost"


def test_what_is_no_variable_is_told() -> None:
    assert verdict(migrated("OLLAMA_NONSENSE=1"), "OLLAMA_NONSENSE") == "unknown"


def test_a_modelfile_is_told_from_a_command() -> None:
    assert is_modelfile(MODELFILE)
    assert not is_modelfile("ollama serve")


@given(
    st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.sampled_from(["0", "1", "4", "5m", "x"])),
    st.dictionaries(st.sampled_from(sorted(PARAMETERS)), st.sampled_from(["0", "1", "-1", "0.5", "x"])),
)
def test_any_settings_give_valid_options_and_a_finding_each(
    variables: dict[str, str], parameters: dict[str, str]
) -> None:
    lines = [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    migration = migrated("\n".join(["FROM /m.gguf", *lines]), *(f"{name}={value}" for name, value in variables.items()))
    loaded(migration)
    told = " ".join(finding.source for finding in migration.findings)
    assert all(name in told for name in (*variables, *parameters))
