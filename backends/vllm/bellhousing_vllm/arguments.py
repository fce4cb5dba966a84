"""What is really handed to vLLM: its engine arguments and environment variables, and nothing else."""

from pathlib import Path
from typing import Any

from bellhousing.errors import ConfigurationError
from bellhousing.settings import EngineSettings
from bellhousing_vllm.options import VllmOptions
from bellhousing_vllm.worker import WorkerExtension

GIB = 1 << 30
CPU_KV_CACHE_GIB = 1.0
LEAST_CPU_LORAS = 64
GPU_ONLY = ("gpu_memory_utilization", "kv_offload_gib", "weights_offload_gib", "sleep_mode")
OFFLINE = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Environment variables set before vLLM is imported: no reports home, no hub."""
ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""vLLM turns "uni" into "mp" on a CPU, since it cannot bind the threads of its own process; named by its path it stays.

Of two processes, the scheduler's spins on one processor for as long as the worker's computes on another.
"""


def engine_arguments(path: Path, settings: EngineSettings, options: VllmOptions, *, on_cpu: bool) -> dict[str, Any]:
    """Return the keyword arguments of `AsyncEngineArgs`. What is unset is left to vLLM."""
    batching, parallelism = settings.batching, settings.parallelism
    arguments: dict[str, Any] = {
        "model": str(path),
        "tokenizer": str(path),
        "load_format": "safetensors",
        "trust_remote_code": False,
        "dtype": options.dtype,
        "quantization": options.quantization,
        "kv_cache_dtype": options.kv_cache_dtype,
        "max_model_len": options.context_length,
        "max_num_seqs": batching.max_sequences,
        "max_num_batched_tokens": batching.max_batched_tokens,
        "tensor_parallel_size": parallelism.tensor,
        "pipeline_parallel_size": parallelism.pipeline,
        "data_parallel_size": parallelism.data,
        "distributed_executor_backend": _executor(settings, options, on_cpu=on_cpu),
        "enable_prefix_caching": options.prefix_cache,
        "enforce_eager": options.eager,
        "max_logprobs": options.max_logprobs,
        "logprobs_mode": "raw_logprobs",
        "scheduling_policy": "priority",
        "speculative_config": options.speculative,
        "enable_log_requests": False,
        "use_tqdm_on_load": False,
        **_adapters(options, spare=1 if on_cpu else 0),
    }
    if on_cpu or options.lora.max_loras:
        arguments["worker_extension_cls"] = f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}"
    kv_cache_gib = options.kv_cache_gib or (CPU_KV_CACHE_GIB if on_cpu else None)
    if kv_cache_gib:
        arguments["kv_cache_memory_bytes"] = int(kv_cache_gib * GIB)
    if not on_cpu:
        arguments |= _gpu(options)
    return {name: value for name, value in arguments.items() if value is not None}


def cpu_environment(options: VllmOptions) -> dict[str, str]:
    """Return the environment variables that stand for arguments where vLLM computes on the CPU."""
    return {"VLLM_CPU_OMP_THREADS_BIND": options.cpu_threads_bind}


def _executor(settings: EngineSettings, options: VllmOptions, *, on_cpu: bool) -> str | None:
    parallelism = settings.parallelism
    if on_cpu and options.executor in {"auto", "uni"} and parallelism.tensor == parallelism.pipeline == 1:
        # Only a worker's process of its own can have its threads bound.
        return ONE_PROCESS if options.cpu_threads_bind == "nobind" else "mp"
    return None if options.executor == "auto" else options.executor


def _adapters(options: VllmOptions, spare: int) -> dict[str, Any]:
    """Return the arguments for adapters, with `spare` places for ours: see `null_adapter`."""
    lora = options.lora
    if not lora.max_loras:
        return {}
    return {
        "enable_lora": True,
        "max_loras": lora.max_loras + spare,
        "max_cpu_loras": most_on_host(options) + spare,
        "max_lora_rank": lora.max_rank,
        "fully_sharded_loras": lora.fully_sharded,
    }


def most_on_host(options: VllmOptions) -> int:
    """Return how many adapters the host's memory may hold, those on the device among them."""
    return options.lora.max_cpu_loras or max(options.lora.max_loras, LEAST_CPU_LORAS)


def _gpu(options: VllmOptions) -> dict[str, Any]:
    return {
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "kv_offloading_size": options.kv_offload_gib,
        "cpu_offload_gb": options.weights_offload_gib,
        "enable_sleep_mode": options.sleep_mode or None,
    }


def check_device(options: VllmOptions, *, on_cpu: bool) -> None:
    """Refuse options that mean nothing on this machine's device. Raises `ConfigurationError` with their names."""
    if not on_cpu:
        return
    wanted = [name for name in GPU_ONLY if getattr(options, name)]
    if options.executor == "ray":  # "current platform cpu does not support ray", says vLLM 0.32
        wanted.append("executor")
    if wanted:
        names = ", ".join(f"options.{name}" for name in wanted)
        raise ConfigurationError(f"{names}: expected a GPU, found vLLM built for the CPU", reason="INVALID_CONFIG")
