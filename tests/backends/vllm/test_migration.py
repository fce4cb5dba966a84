"""Launches of vLLM become configurations that load; nothing that was given goes unmentioned."""

import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhousing.config import ModelConfig, load_config
from bellhousing.migration import Draft, Migration
from bellhousing.migration.launch import read_launch
from bellhousing_vllm import VllmBackend
from bellhousing_vllm.migration import ORIGIN
from bellhousing_vllm.migration.reader import shapes
from bellhousing_vllm.migration.rules import SWITCHES
from bellhousing_vllm.options import VllmOptions


def migrated(*sources: str) -> Migration:
    launch = read_launch(sources, ORIGIN.is_document, str)
    draft = Draft(VllmBackend)
    ORIGIN.read(launch, draft)
    return draft.finished()


def loaded(migration: Migration) -> tuple[ModelConfig, VllmOptions]:
    """Return the model and its options as `bellhousing serve` would read them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bellhousing.toml"
        file.write_text(migration.toml(), encoding="utf-8")
        (model,) = load_config(file).models
    return model, VllmOptions.model_validate(model.options)


def verdict(migration: Migration, start: str) -> str:
    return next(finding.verdict for finding in migration.findings if finding.source.startswith(start))


def test_the_usual_flags_are_kept() -> None:
    migration = migrated(
        "vllm serve /m/llama --dtype bfloat16 -tp 4 -pp 2 --max_model_len=16k --max-num-seqs 64"
        " --max-num-batched-tokens 8192 --gpu-memory-utilization 0.8 --enforce-eager --quantization awq"
        " --kv-cache-dtype fp8 --served-model-name llama --max-num-queued-reqs 10"
    )
    model, options = loaded(migration)
    assert migration.is_complete
    assert (model.name, model.model) == ("llama", "/m/llama")
    assert (model.parallelism.tensor, model.parallelism.pipeline) == (4, 2)
    assert (model.batching.max_sequences, model.batching.max_batched_tokens) == (64, 8192)
    assert model.admission.max_queued == 10
    assert (options.context_length, options.gpu_memory_utilization, options.eager) == (16_000, 0.8, True)
    assert (options.dtype, options.quantization, options.kv_cache_dtype) == ("bfloat16", "awq", "fp8")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--no-enable-prefix-caching", {"prefix_cache": False}),
        ("--dtype half", {"dtype": "float16"}),
        ("--max-model-len -1", {}),
        ("--max-model-len 16K", {"context_length": 16_384}),
        ("--max-logprobs -1", {"max_logprobs": 1024}),
        ("--kv-cache-memory-bytes 2G", {"kv_cache_gib": 2.0}),
        ("--cpu-offload-gb 0", {}),
        ("--spec-method ngram --spec-tokens 3", {"speculative": {"method": "ngram", "num_speculative_tokens": 3}}),
        ("--speculative-config.method ngram", {"speculative": {"method": "ngram"}}),
        ("""-sc '{"method": "ngram"}'""", {"speculative": {"method": "ngram"}}),
        ("--enable-lora", {"lora": {"max_loras": 1}}),
        ("--enable-lora --max-loras 4 --max-lora-rank 1", {"lora": {"max_loras": 4, "max_rank": 8}}),
        ("--max-num-s 4 --enforce", {"eager": True}),
    ],
)
def test_a_value_is_read_as_vllm_reads_it(flags: str, expected: dict[str, Any]) -> None:
    model, _ = loaded(migrated(f"vllm serve /m {flags}"))
    assert model.options == expected


@pytest.mark.parametrize(
    "flags",
    [
        "--trust-remote-code", "--load-format gguf", "--host 0.0.0.0", "--chat-template x.jinja", "--tokenizer other",
        "--tool-call-parser hermes", "--nnodes 2", "--max-loras 4", "--ssl-keyfile key.pem", "--config vllm.yaml",
        "--generation-config auto", "--override-generation-config {}", "--enable-log-requests", "--max-lora-rank 7000",
    ],
)  # fmt: skip
def test_what_has_no_place_here_is_told(flags: str) -> None:
    assert verdict(migrated(f"vllm serve /m {flags}"), flags.split()[0]) == "lost"


@pytest.mark.parametrize(
    "flags", ["--no-trust-remote-code", "--no-enable-expert-parallel", "--scheduler-reserve-full-isl"]
)
def test_a_switch_set_to_what_holds_here_anyway_loses_nothing(flags: str) -> None:
    assert migrated(f"vllm serve /m {flags}").is_complete


def test_a_model_of_the_hub_is_fetched_by_the_server_with_its_revision() -> None:
    model, _ = loaded(migrated("vllm serve org/name --revision abc"))
    assert model.model == "hf://org/name@abc"


def test_the_container_and_the_module_are_read_too() -> None:
    inside = migrated("docker run -v /data:/models vllm/vllm-openai:v0.32.0 --model /models/llama --dtype half")
    assert loaded(inside)[0].model == "/data/llama"
    module = migrated("python3 -m vllm.entrypoints.openai.api_server --model /models/llama")
    assert loaded(module)[0].model == "/models/llama"


def test_variables_become_settings_or_stay_in_the_environment() -> None:
    migration = migrated("vllm serve /m", "VLLM_CPU_KVCACHE_SPACE=4", "VLLM_USE_DEEP_GEMM=1", "NOTHING=1")
    assert loaded(migration)[1].kv_cache_gib == 4
    assert verdict(migration, "VLLM_USE_DEEP_GEMM") == "changed"
    assert verdict(migration, "NOTHING") == "unknown"


def test_a_certificate_with_its_key_and_keys_of_clients_are_kept() -> None:
    migration = migrated("vllm serve /m --ssl-keyfile k.pem --ssl-certfile c.pem --api-key one two --port 9000")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bellhousing.toml"
        file.write_text(migration.toml())
        config = load_config(file)
    assert config.server.tls is not None
    assert (config.server.port, len(config.auth.tokens)) == (9000, 2)


def test_other_commands_and_a_second_server_are_told() -> None:
    migration = migrated("set -e; vllm serve /a && vllm serve /b")
    assert [finding.source for finding in migration.findings if finding.verdict == "unknown"] == ["set"]
    assert verdict(migration, "a second vllm serve") == "lost"


def test_of_a_flag_given_twice_the_last_counts_as_in_vllm() -> None:
    migration = migrated("vllm serve /m --max-num-seqs 4 --max-num-seqs 8 --enforce-eager --no-enforce-eager")
    model, options = loaded(migration)
    assert (model.batching.max_sequences, options.eager) == (8, False)
    assert migration.is_complete


def test_a_launch_without_a_model_says_so() -> None:
    assert verdict(migrated("vllm serve"), "(model)") == "lost"


words = st.sampled_from(
    ["0", "1", "-1", "4", "16k", "0.5", "auto", "half", "{}", '{"a": 1}', "a=/b", "x", "$X", "é\x7f"]
)


@st.composite
def flag(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted({*shapes()} - {"--help"})))
    if shapes()[name] == "switch":
        return [draw(st.sampled_from([name, "--no-" + name[2:]]))]
    value = draw(words)
    return draw(
        st.sampled_from([[name, value], [f"{name}={value}"], [name.replace("-", "_").replace("__", "--", 1), value]])
    )


@given(st.lists(flag(), max_size=12))
def test_any_flags_give_a_configuration_that_loads_and_a_finding_each(flags: list[list[str]]) -> None:
    migration = migrated(shlex.join(["vllm", "serve", "/m", *(word for parts in flags for word in parts)]))
    loaded(migration)
    told = " ".join(finding.source for finding in migration.findings)
    missing = [parts for parts in flags if not re.search(rf"{_long(parts[0])}\b", told)]
    assert not missing
    assert all(finding.verdict != "unknown" for finding in migration.findings)


def _long(word: str) -> str:
    return "--" + word.partition("=")[0][2:].replace("_", "-")


def test_every_switch_has_a_rule_for_on_and_off() -> None:
    for name, rule in SWITCHES.items():
        assert {rule("true").verdict, rule("false").verdict} <= {"kept", "changed", "lost"}, name
