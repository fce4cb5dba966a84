"""What is really handed to vLLM."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bellhousing.errors import ConfigurationError
from bellhousing.settings import EngineSettings
from bellhousing_vllm.arguments import ONE_PROCESS, check_device, cpu_environment, engine_arguments
from bellhousing_vllm.options import VllmOptions


def arguments(
    options: dict[str, Any] | None = None, settings: dict[str, Any] | None = None, *, on_cpu: bool = False
) -> dict[str, Any]:
    return engine_arguments(
        Path("/m"),
        EngineSettings.model_validate(settings or {}),
        VllmOptions.model_validate(options or {}),
        on_cpu=on_cpu,
    )


def test_nothing_remote_is_ever_run_and_only_safetensors_are_read() -> None:
    found = arguments()
    assert (found["trust_remote_code"], found["load_format"], found["enable_log_requests"]) == (
        False,
        "safetensors",
        False,
    )


def test_what_is_unset_is_left_to_vllm() -> None:
    unset = {"max_num_seqs", "max_num_batched_tokens", "max_model_len", "quantization", "enable_lora"}
    unset |= {"gpu_memory_utilization", "kv_cache_memory_bytes", "enable_sleep_mode", "speculative_config"}
    assert not unset & arguments().keys()


def test_shared_settings_become_vllms_own() -> None:
    found = arguments(
        {"executor": "ray"},
        {
            "batching": {"max_sequences": 32, "max_batched_tokens": 4096},
            "parallelism": {"tensor": 4, "pipeline": 2, "data": 3},
        },
    )
    assert (found["max_num_seqs"], found["max_num_batched_tokens"]) == (32, 4096)
    assert (found["tensor_parallel_size"], found["pipeline_parallel_size"], found["data_parallel_size"]) == (4, 2, 3)
    assert found["distributed_executor_backend"] == "ray"


def test_options_of_a_gpu_reach_it() -> None:
    found = arguments(
        {
            "gpu_memory_utilization": 0.8,
            "kv_cache_gib": 2,
            "kv_offload_gib": 16,
            "weights_offload_gib": 4,
            "sleep_mode": True,
            "quantization": "fp8",
            "kv_cache_dtype": "fp8",
            "speculative": {"method": "ngram", "num_speculative_tokens": 3},
        }
    )
    assert found["gpu_memory_utilization"] == 0.8
    assert found["kv_cache_memory_bytes"] == 2 * 2**30
    assert (found["kv_offloading_size"], found["cpu_offload_gb"], found["enable_sleep_mode"]) == (16, 4, True)
    assert (found["quantization"], found["kv_cache_dtype"]) == ("fp8", "fp8")
    assert found["speculative_config"] == {"method": "ngram", "num_speculative_tokens": 3}


def test_adapters_have_room_in_the_hosts_memory_for_many_more_than_a_batch_takes() -> None:
    found = arguments({"lora": {"max_loras": 4, "max_rank": 32}})
    assert (found["enable_lora"], found["max_loras"], found["max_cpu_loras"], found["max_lora_rank"]) == (
        True,
        4,
        64,
        32,
    )
    with pytest.raises(ValidationError, match=r"expected at least max_loras \(4\), found 2"):
        VllmOptions.model_validate({"lora": {"max_loras": 4, "max_cpu_loras": 2}})


def test_on_a_cpu_the_kv_cache_is_small_and_threads_are_left_where_they_are() -> None:
    assert arguments(on_cpu=True)["kv_cache_memory_bytes"] == 2**30
    assert cpu_environment(VllmOptions()) == {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}


@pytest.mark.parametrize(
    ("options", "settings", "expected"),
    [
        ({}, {}, ONE_PROCESS),
        ({"executor": "uni"}, {}, ONE_PROCESS),
        ({"executor": "mp"}, {}, "mp"),
        ({"cpu_threads_bind": "0-3"}, {}, "mp"),
        ({}, {"parallelism": {"tensor": 2}}, None),
    ],
)
def test_on_a_cpu_one_rank_computes_in_the_process_of_its_scheduler_unless_threads_are_bound(
    options: dict[str, Any], settings: dict[str, Any], expected: str | None
) -> None:
    assert arguments(options, settings, on_cpu=True).get("distributed_executor_backend") == expected


def test_on_a_cpu_there_is_one_more_place_for_the_adapter_of_the_base_model() -> None:
    found = arguments({"lora": {"max_loras": 4, "max_cpu_loras": 8}}, on_cpu=True)
    assert (found["max_loras"], found["max_cpu_loras"]) == (5, 9)


@pytest.mark.parametrize(
    "option",
    [
        {"gpu_memory_utilization": 0.5},
        {"kv_offload_gib": 1},
        {"weights_offload_gib": 1},
        {"sleep_mode": True},
        {"executor": "ray"},
    ],
)
def test_an_option_that_needs_a_gpu_is_refused_by_name_on_a_cpu(option: dict[str, Any]) -> None:
    options = VllmOptions.model_validate(option)
    check_device(options, on_cpu=False)
    with pytest.raises(ConfigurationError, match=rf"options\.{next(iter(option))}: expected a GPU"):
        check_device(options, on_cpu=True)
