"""Launches of TGI become configurations whose options are valid; nothing that was given goes unmentioned."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhousing.config import ModelConfig
from bellhousing.migration import Draft, Migration
from bellhousing.migration.launch import read_launch
from bellhousing_tgi import TgiBackend
from bellhousing_tgi.migration import COMBINED, ORIGIN, RULES, SWITCHES
from bellhousing_tgi.options import TgiOptions


def migrated(*sources: str) -> Migration:
    draft = Draft(TgiBackend)
    ORIGIN.read(read_launch(sources, ORIGIN.is_document, str), draft)
    return draft.finished()


def loaded(migration: Migration) -> tuple[ModelConfig, TgiOptions]:
    model = ModelConfig.model_validate(migration.tables["model"])
    return model, TgiOptions.model_validate(model.options)


def verdict(migration: Migration, start: str) -> str:
    return next(finding.verdict for finding in migration.findings if finding.source.startswith(start))


def test_the_usual_flags_are_kept() -> None:
    migration = migrated(
        "text-generation-launcher --model-id /m/llama --num-shard 2 --max-batch-prefill-tokens 4096 --dtype bfloat16"
        " --max-input-tokens 1024 --max-total-tokens 2048 --max-concurrent-requests 64 --cuda-graphs 0"
        " --usage-stats off --lora-adapters sql=/a/sql,chat=/a/chat"
    )
    model, options = loaded(migration)
    assert migration.is_complete
    assert (model.model, model.parallelism.tensor, model.batching.max_batched_tokens) == ("/m/llama", 2, 4096)
    assert (options.max_input_tokens, options.max_total_tokens, options.cuda_graphs) == (1024, 2048, ())
    assert sorted(options.adapters) == ["chat", "sql"]


def test_variables_and_a_container_are_read_and_a_flag_goes_over_its_variable() -> None:
    image = "ghcr.io/huggingface/text-generation-inference:3.3.5"
    migration = migrated(f"docker run -e NUM_SHARD=2 -e MODEL_ID=org/name -e REVISION=abc {image} --num-shard 4")
    model, _ = loaded(migration)
    assert (model.model, model.parallelism.tensor) == ("hf://org/name@abc", 4)
    assert verdict(migration, "NUM_SHARD=2") == "kept"


@pytest.mark.parametrize(
    "flags",
    [
        "--sharded true", "--lora-adapters org/adapter", "--trust-remote-code", "--max-waiting-tokens 20",
        "--hostname 0.0.0.0", "--max-best-of 4", "--dtype float32", "--ngrok", "--revision abc",
    ],
)  # fmt: skip
def test_what_has_no_place_here_is_told(flags: str) -> None:
    assert verdict(migrated(f"text-generation-launcher --model-id /m {flags}"), flags.split()[0]) == "lost"


def test_what_is_no_flag_or_variable_is_told() -> None:
    migration = migrated("text-generation-launcher --model-id /m --nonsense 1", "NOTHING=1")
    assert {verdict(migration, name) for name in ("--nonsense", "NOTHING")} == {"unknown"}


def test_keys_are_hashed_and_never_shown() -> None:
    migration = migrated("text-generation-launcher --model-id /m --ngrok-authtoken hunter2", "API_KEY=hunter2")
    assert "hunter2" not in migration.toml() + repr(migration.findings)
    assert len(migration.tables["auth"]["tokens"]) == 1


@given(
    st.dictionaries(
        st.sampled_from(sorted({*RULES, *COMBINED})), st.sampled_from(["0", "1", "4", "true", "fp8", "a=/b"])
    )
)
def test_any_flags_give_valid_options_and_a_finding_each(flags: dict[str, str]) -> None:
    words = [
        word
        for name, value in flags.items()
        for word in ["--" + name.lower().replace("_", "-"), *([] if name in SWITCHES else [value])]
    ]
    migration = migrated(shlex.join(["text-generation-launcher", *words]))
    loaded(migration)
    told = [finding.source.split(" ")[0] for finding in migration.findings]
    assert {word for word in words if word.startswith("--")} <= {*told}
