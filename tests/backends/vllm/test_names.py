"""Every name of vLLM that the backend relies on, so that a release without one is found before it is used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bellhousing.requests import GenerationRequest, Sampling, Stopping
from bellhousing.settings import EngineSettings
from bellhousing_vllm.arguments import engine_arguments
from bellhousing_vllm.options import VllmOptions
from bellhousing_vllm.sampling import sampling_fields

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

LIST_NAMES = """
import importlib, inspect, json, sys
found = {}
for path in json.loads(sys.argv[1]):
    module, _, name = path.partition(":")
    kind = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    found[path] = sorted({*inspect.signature(kind).parameters, *dir(kind)}) if kind else None
print("names", json.dumps(found))
"""

EVERYTHING = VllmOptions.model_validate(
    {
        "context_length": 64,
        "quantization": "fp8",
        "gpu_memory_utilization": 0.5,
        "kv_cache_gib": 1,
        "kv_offload_gib": 1,
        "weights_offload_gib": 1,
        "executor": "mp",
        "sleep_mode": True,
        "speculative": {"method": "ngram"},
        "lora": {"max_loras": 1},
    }
)
SETTINGS = EngineSettings.model_validate({"batching": {"max_sequences": 1, "max_batched_tokens": 1}})
SAMPLING = Sampling(1, 1, 1.0, 1.0, 1, 0.1, None, 1.1, 0.1, 0.1, 1, {1: 1.0}, 1, ignore_eos=True)
REQUEST = GenerationRequest("id", (1,), SAMPLING, Stopping(token_ids=(1,)), logprobs=1, prompt_logprobs=1)

OF_TENSORS = {"lora_model_id", "device", "dtype", "model_vocab_size", "weights_mapper", "skip_prefixes"}
"""What both ways to make an adapter have, so that one call can be passed on to the other."""

NEEDED = {
    "vllm.engine.arg_utils:AsyncEngineArgs": {*engine_arguments(Path("/m"), SETTINGS, EVERYTHING, on_cpu=False)},
    "vllm.sampling_params:SamplingParams": {*sampling_fields(REQUEST, 9), "output_kind", "structured_outputs"},
    "vllm.sampling_params:StructuredOutputsParams": {"json", "json_object", "regex", "grammar", "choice"},
    "vllm.v1.engine.async_llm:AsyncLLM": {
        "from_engine_args", "generate", "errored", "add_lora", "remove_lora", "pin_lora", "sleep", "wake_up",
        "shutdown", "get_tokenizer", "collective_rpc",
    },
    "vllm.lora.lora_model:LoRAModel": {"from_local_checkpoint", "from_lora_tensors"},
    "vllm.lora.lora_model:LoRAModel.from_local_checkpoint": {
        "lora_dir", "expected_lora_modules", "peft_helper", "moe_ep_spec", *OF_TENSORS
    },
    "vllm.lora.lora_model:LoRAModel.from_lora_tensors": {"tensors", "peft_helper", *OF_TENSORS},
    "vllm.lora.worker_manager:WorkerLoRAManager": {"lora_model_cls"},
    "vllm.lora.model_manager:LRUCacheLoRAModelManager": {"deactivate_adapter", "get_adapter"},
    "vllm.v1.worker.cpu_model_runner:CPUModelRunner": {
        "_sample", "_bookkeeping_sync", "_get_prompt_logprobs_dict",
    },
    "vllm.lora.punica_wrapper.punica_cpu:PunicaWrapperCPU": {"token_lora_indices", "sampler_indices"},
    "vllm.inputs:tokens_input": {"prompt_token_ids"},
    "vllm.v1.executor.uniproc_executor:UniProcExecutor": {"collective_rpc"},
    "vllm.outputs:RequestOutput": {"outputs", "prompt_token_ids", "prompt_logprobs", "num_cached_tokens"},
    "vllm.outputs:CompletionOutput": {"index", "text", "token_ids", "logprobs", "finish_reason", "stop_reason"},
    "vllm.lora.request:LoRARequest": {"lora_name", "lora_int_id", "lora_path"},
    "vllm.v1.metrics.loggers:StatLoggerBase": {"record", "log_engine_initialized"},
    "vllm.v1.metrics.stats:SchedulerStats": {
        "num_running_reqs", "num_waiting_reqs", "kv_cache_usage", "prefix_cache_stats", "spec_decoding_stats",
    },
}  # fmt: skip


def test_vllm_has_every_name_that_the_backend_relies_on() -> None:
    command = [sys.executable, "-c", LIST_NAMES, json.dumps(sorted(NEEDED))]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(next(line for line in output.splitlines() if line.startswith("names ")).removeprefix("names "))
    missing = {path: sorted(needed - set(found[path] or ())) for path, needed in NEEDED.items()}
    assert not {path: names for path, names in missing.items() if names}
