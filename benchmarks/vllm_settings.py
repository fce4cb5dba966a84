"""What the three arms of the vLLM benchmark share: the same weights, precision, threads, cache and scheduler."""

from pathlib import Path
from typing import Any

ENGINES = Path(__file__).parent.parent / ".engines"
PYTHON, MODEL = ENGINES / "vllm" / "bin" / "python", ENGINES / "smollm2"
SEQUENCES, CONTEXT, KV_GIB = 16, 1024, 0.5
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
"""One thread computes, so that the other processor is there for server and client."""

ARGUMENTS: dict[str, Any] = {
    "enforce_eager": True,
    "dtype": "bfloat16",
    "max_model_len": CONTEXT,
    "max_num_seqs": SEQUENCES,
    "kv_cache_memory_bytes": int(KV_GIB * 2**30),
    "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
}
"""Of `AsyncEngineArgs`; the executor is the one that the backend chooses on a CPU."""

LORA_ARGUMENTS: dict[str, Any] = {"enable_lora": True, "max_loras": 4, "max_cpu_loras": 64, "max_lora_rank": 16}
"""Added where adapters are loaded; elsewhere no arm has them, as they would cost each request something."""

FLAGS = [
    "--enforce-eager", "--dtype", "bfloat16", "--max-model-len", str(CONTEXT), "--max-num-seqs", str(SEQUENCES),
    "--kv-cache-memory-bytes", str(int(KV_GIB * 2**30)), "--disable-uvicorn-access-log",
]  # fmt: skip
"""The same for vLLM's own server, which is left its own executor as its users have it."""

OWN_SERVER = ENVIRONMENT | {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600"}
"""Of vLLM's own server: it must not close a connection while the others are measured."""

ONE_PROCESS = OWN_SERVER | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""Of the same server made to take our executor: its flag takes no path, and this leaves it what it calls `uni`."""

OURS: dict[str, Any] = {
    "backend": "vllm",
    "model": str(MODEL),
    "batching": {"max_sequences": SEQUENCES},
    "options": {"eager": True, "dtype": "bfloat16", "context_length": CONTEXT, "kv_cache_gib": KV_GIB},
}
"""The same for our server."""

LORA_OPTIONS: dict[str, Any] = {"lora": {"max_loras": 4, "max_cpu_loras": 64, "max_rank": 16}}
