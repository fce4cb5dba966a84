"""What each flag and variable of vLLM 0.32 becomes."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from bellhousing.migration import Outcome, Rule, Shape, already, lost, stays, to
from bellhousing.migration.conversions import port
from bellhousing.migration.rules import flag
from bellhousing_vllm.migration.values import count, gib, table

DTYPES = {"half": "float16", "float": "float32"}
MOST_LOGPROBS = 1024
LEAST_RANK = 8
CODE = "no code of a model's repository is ever run"
RUNTIME = "adapters are loaded while it runs, when options.lora.max_loras is set"


def _dtype(value: str) -> Outcome:
    name = DTYPES.get(value)
    return Outcome(
        {"options.dtype": name or value}, "changed" if name else "kept", "the same by another name" * bool(name)
    )


def _context_length(value: str) -> Outcome:
    if value.strip().lower() in {"-1", "auto"}:
        return Outcome(
            verdict="changed", reason="unset: what the model was trained for; a model too long for memory fails"
        )
    return Outcome({"options.context_length": count(value)})


def _logprobs(value: str) -> Outcome:
    asked = int(value)
    if asked >= 0:
        return Outcome({"options.max_logprobs": asked})
    return Outcome({"options.max_logprobs": MOST_LOGPROBS}, "changed", "the contract has no more")


def _rank(value: str) -> Outcome:
    asked = int(value)
    reason = "" if asked >= LEAST_RANK else f"the least is {LEAST_RANK}"
    return Outcome({"options.lora.max_rank": max(asked, LEAST_RANK)}, "changed" if reason else "kept", reason)


def _cpu_loras(value: str) -> Outcome:
    most = int(value)
    return Outcome({"options.lora.max_cpu_loras": most, "adapter_slots": most})


def _gib_or_none(path: str) -> Rule:
    def apply(value: str) -> Outcome:
        size = float(value)
        return Outcome({path: size} if size else {}, reason="" if size else "none is the default")

    return apply


def _executor(value: str) -> Outcome:
    if value not in {"mp", "ray", "uni"}:
        return Outcome(verdict="lost", reason="expected mp, ray or uni")
    return Outcome({"options.executor": value})


SWITCHES: Mapping[str, Rule] = {
    "--enable-prefix-caching": to("options.prefix_cache", flag),
    "--enforce-eager": to("options.eager", flag),
    "--enable-sleep-mode": to("options.sleep_mode", flag),
    "--fully-sharded-loras": to("options.lora.fully_sharded", flag),
    "--enable-chunked-prefill": already("on wherever vLLM can", "true"),
    "--enable-prompt-tokens-details": already(
        "cached tokens are always told", "true", otherwise="they are always told"
    ),
    "--enable-log-requests": already("requests are not logged", "false", otherwise="prompts are never logged"),
    "--enable-log-outputs": already("outputs are not logged", "false", otherwise="completions are never logged"),
    "--use-tqdm-on-load": already("`bellhousing serve` shows the progress of loading"),
    "--trust-remote-code": already(CODE, "false"),
    "--skip-tokenizer-init": already("the tokenizer is loaded", "false", otherwise="text needs the tokenizer"),
    "--disable-log-stats": already("the load is told by GetLoad, not by the log"),
}
SINGLE: Mapping[str, Rule] = {
    "--dtype": _dtype,
    "--quantization": to("options.quantization"),
    "--kv-cache-dtype": to("options.kv_cache_dtype"),
    "--max-model-len": _context_length,
    "--gpu-memory-utilization": to("options.gpu_memory_utilization", float),
    "--kv-cache-memory-bytes": to("options.kv_cache_gib", gib),
    "--kv-offloading-size": _gib_or_none("options.kv_offload_gib"),
    "--kv-offloading-backend": already("vLLM's own", "native", otherwise="only vLLM's own"),
    "--cpu-offload-gb": _gib_or_none("options.weights_offload_gib"),
    "--distributed-executor-backend": _executor,
    "--max-logprobs": _logprobs,
    "--logprobs-mode": already("they are the model's own", "raw_logprobs", otherwise="they are always raw_logprobs"),
    "--speculative-config": to("options.speculative", table),
    "--spec-method": to("options.speculative.method"),
    "--spec-model": to("options.speculative.model"),
    "--spec-tokens": to("options.speculative.num_speculative_tokens", int),
    "--max-lora-rank": _rank,
    "--max-cpu-loras": _cpu_loras,
    "--tensor-parallel-size": to("parallelism.tensor", int),
    "--pipeline-parallel-size": to("parallelism.pipeline", int),
    "--data-parallel-size": to("parallelism.data", int),
    "--max-num-seqs": to("batching.max_sequences", count),
    "--max-num-batched-tokens": to("batching.max_batched_tokens", count),
    "--max-num-queued-reqs": to("admission.max_queued", int),
    "--max-num-queued-tokens": to("admission.max_queued_tokens", int),
    "--load-format": already("safetensors", "auto", "safetensors", "hf", otherwise="only safetensors are loaded"),
    "--scheduling-policy": already("requests have priorities, equal ones go first come, first served"),
    "--seed": already("each request has its own seed", otherwise="each request has its own seed"),
    "--generation-config": already(
        "sampling starts from neutral values", "vllm", otherwise="what the model recommends is for clients to send"
    ),
    "--runner": already("it generates", "auto", "generate", otherwise="this backend generates"),
    "--convert": already("it generates", "auto", "none", otherwise="this backend generates"),
    "--shutdown-timeout": to("server.grace_seconds", float),
    "--port": port,
}
VARIABLES: Mapping[str, Rule] = {
    "VLLM_CPU_KVCACHE_SPACE": _gib_or_none("options.kv_cache_gib"),
    "VLLM_CPU_OMP_THREADS_BIND": to("options.cpu_threads_bind"),
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": already(RUNTIME),
    "VLLM_NO_USAGE_STATS": already("nothing is reported home", "1", "true", otherwise="nothing is ever reported home"),
    "DO_NOT_TRACK": already("nothing is reported home", "1", "true", otherwise="nothing is ever reported home"),
    "HF_TOKEN": stays("read when the model is fetched"),
    "HUGGING_FACE_HUB_TOKEN": stays("read when the model is fetched"),
    "HF_HOME": stays(),
    "HF_ENDPOINT": stays(),
    "CUDA_VISIBLE_DEVICES": stays(),
}
PASSED_ON = ("VLLM_", "CUDA_", "NCCL_", "OMP_", "TORCH_", "RAY_", "HF_HUB_")
"""Variables that vLLM or its libraries read by themselves: its process inherits them."""
COMBINED: Mapping[str, Shape] = {
    "--model": "one",
    "--revision": "one",
    "--tokenizer": "one",
    "--served-model-name": "many",
    "--host": "one",
    "--api-key": "many",
    "--ssl-keyfile": "one",
    "--ssl-certfile": "one",
    "--hf-token": "optional",
    "--enable-lora": "switch",
    "--max-loras": "one",
    "--lora-modules": "many",
}
"""Flags that mean something only together; the reader has them."""
ALIASES: Mapping[str, str] = {
    "-q": "--quantization",
    "-pp": "--pipeline-parallel-size",
    "-tp": "--tensor-parallel-size",
    "-dp": "--data-parallel-size",
    "-sc": "--speculative-config",
    "-asc": "--api-server-count",
    "-n": "--nnodes",
    "-r": "--node-rank",
    "-dcp": "--decode-context-parallel-size",
    "-pcp": "--prefill-context-parallel-size",
    "-dpn": "--data-parallel-rank",
    "-dpr": "--data-parallel-start-rank",
    "-dpl": "--data-parallel-size-local",
    "-dpa": "--data-parallel-address",
    "-dpp": "--data-parallel-rpc-port",
    "-dpb": "--data-parallel-backend",
    "-dph": "--data-parallel-hybrid-lb",
    "-dpe": "--data-parallel-external-lb",
    "-dpm": "--data-parallel-multi-port-external-lb",
    "-ep": "--enable-expert-parallel",
    "-dc": "--diffusion-config",
    "-cc": "--compilation-config",
    "-ac": "--attention-config",
    "--device-memory-utilization": "--gpu-memory-utilization",
}


def without_setting() -> tuple[dict[str, Rule], dict[str, Shape]]:
    """Return the rules and shapes of the flags in flags.toml. Negating what is off by itself loses nothing."""
    rules: dict[str, Rule] = {}
    shapes: dict[str, Shape] = {}
    text = files("bellhousing_vllm.migration").joinpath("flags.toml").read_text(encoding="utf-8")
    for group in tomllib.loads(text)["flags"]:
        reason = group["reason"]
        for name in group.get("switches", ()):
            rules[name] = already("off here too", "false", otherwise=reason)
            shapes[name] = "switch"
        for name in group.get("switches_on", ()):
            rules[name], shapes[name] = already("on here too", "true", otherwise=reason), "switch"
        rules |= {name: lost(reason) for name in (*group.get("one", ()), *group.get("many", ()))}
        shapes |= dict.fromkeys(group.get("one", ()), "one") | dict.fromkeys(group.get("many", ()), "many")
    return rules, shapes
