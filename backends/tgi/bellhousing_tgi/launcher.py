"""What is really handed to `text-generation-launcher`, and what becomes of the settings there."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bellhousing.backend import AdapterFiles
from bellhousing.errors import ConfigurationError, PreconditionFailed
from bellhousing.safetensors import Shapes, read_shapes
from bellhousing.settings import Batching, EngineSettings, Parallelism
from bellhousing_tgi.options import APART, TgiOptions

IGNORED = "text-generation-launcher takes it, and ignores it where the shard chunks prefill, as flash models do"
REASONS: Mapping[str, str] = {
    "batching.max_sequences": "kept by the server, which sends no more at once: " + IGNORED,
    "batching.max_batched_tokens": "tokens of prompts in one step (--max-batch-prefill-tokens)",
    "batching.max_total_tokens": IGNORED,
}
SETTABLE = {
    "API_KEY", "CORS_ALLOW_ORIGIN", "CUDA_GRAPHS", "CUDA_MEMORY_FRACTION", "DISABLE_GRAMMAR_SUPPORT", "DTYPE",
    "ENABLE_PREFILL_LOGPROBS", "HOSTNAME", "JSON_OUTPUT", "KV_CACHE_DTYPE", "LORA_ADAPTERS", "MASTER_ADDR",
    "MASTER_PORT", "MAX_BATCH_PREFILL_TOKENS", "MAX_BATCH_SIZE", "MAX_BATCH_TOTAL_TOKENS", "MAX_BEST_OF",
    "MAX_CLIENT_BATCH_SIZE", "MAX_CONCURRENT_REQUESTS", "MAX_INPUT_LENGTH", "MAX_INPUT_TOKENS", "MAX_STOP_SEQUENCES",
    "MAX_TOP_N_TOKENS", "MAX_TOTAL_TOKENS", "MAX_WAITING_TOKENS", "MODEL_ID", "NGROK", "NGROK_AUTHTOKEN", "NGROK_EDGE",
    "NUM_SHARD", "OTLP_ENDPOINT", "PAYLOAD_LIMIT", "PORT", "QUANTIZE", "REVISION", "ROPE_FACTOR", "ROPE_SCALING",
    "SHARDED", "SHARD_UDS_PATH", "SPECULATE", "TOKENIZER_CONFIG_PATH", "TRUST_REMOTE_CODE", "USAGE_STATS",
    "WAITING_SERVED_RATIO", "WATERMARK_DELTA", "WATERMARK_GAMMA",
}  # fmt: skip
"""Variables that the launcher reads in place of flags: inherited, they would be settings that nobody sees."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def command_line(
    model: Path, settings: EngineSettings, options: TgiOptions, *, port: int, master_port: int, sockets: Path
) -> list[str]:
    """Return the launcher and its arguments; unset is left to TGI. `sockets` is the prefix of the shards' sockets."""
    batching = settings.batching
    flags: dict[str, object] = {
        "model-id": model,
        "hostname": "127.0.0.1",
        "port": port,
        "num-shard": settings.parallelism.tensor,
        "master-port": master_port,
        "shard-uds-path": sockets,
        "usage-stats": "off",
        "max-concurrent-requests": options.max_concurrent_requests,
        "max-input-tokens": options.max_input_tokens,
        "max-total-tokens": options.max_total_tokens,
        "max-batch-size": batching.max_sequences,
        "max-batch-prefill-tokens": batching.max_batched_tokens,
        "max-batch-total-tokens": batching.max_total_tokens,
        "dtype": options.dtype,
        "quantize": options.quantize,
        "kv-cache-dtype": options.kv_cache_dtype,
        "cuda-memory-fraction": options.cuda_memory_fraction,
        "cuda-graphs": _graphs(options.cuda_graphs),
        "lora-adapters": ",".join(f"{name}={path}" for name, path in options.adapters.items()) or None,
    }
    given = ((f"--{name}", str(value)) for name, value in flags.items() if value is not None)
    return [options.launcher, *(part for pair in given for part in pair)]


def environment(options: TgiOptions, key: str, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of the launcher: those inherited that are no settings, no hub, and the API key.

    The key is there since every user of a machine can read the command lines of all.
    """
    kept = {name: value for name, value in inherited.items() if name not in SETTABLE}
    if options.prefix_cache is not None:
        kept["PREFIX_CACHING"] = "1" if options.prefix_cache else "0"
    return {**kept, **OFFLINE, "API_KEY": key}


def effective(settings: EngineSettings, options: TgiOptions) -> EngineSettings:
    """Return what became of the settings; see `REASONS`."""
    batching = settings.batching
    most = min(batching.max_sequences or options.max_concurrent_requests, options.max_concurrent_requests)
    return EngineSettings(
        batching=Batching(max_sequences=most, max_batched_tokens=batching.max_batched_tokens),
        parallelism=Parallelism(tensor=settings.parallelism.tensor),
    )


def check(settings: EngineSettings) -> None:
    """Refuse what TGI cannot do. Raises `ConfigurationError`."""
    asked = [f"parallelism.{name}" for name, value in settings.parallelism if name != "tensor" and value != 1]
    if asked:
        raise ConfigurationError(f"{', '.join(asked)}: expected 1, since TGI has only shards", reason="PARALLELISM")


def weights(directory: Path | None, what: str) -> list[Path]:
    """Return the safetensors in a directory. Raises `ConfigurationError`; TGI would convert pickled weights."""
    found = sorted(directory.glob("*.safetensors")) if directory else []
    if not found:
        raise ConfigurationError(
            f"{what} {str(directory)!r}: expected a directory with weights in *.safetensors, found none",
            reason="INVALID_MODEL",
        )
    return found


def shapes(directory: Path | None) -> Shapes:
    """Return the shapes of a model's tensors. Raises `ConfigurationError` for weights that are damaged."""
    try:
        return {name: shape for file in weights(directory, "model") for name, shape in read_shapes(file).items()}
    except ValueError as error:
        raise ConfigurationError(f"model {str(directory)!r}: {error}", reason="INVALID_MODEL") from error


def check_adapter_name(adapter: AdapterFiles) -> None:
    """Refuse what the launcher's list of adapters cannot hold. Raises `PreconditionFailed`."""
    for text in (adapter.name, adapter.path):
        if set(text) & APART:
            raise PreconditionFailed(
                f"adapter {adapter.name!r}: expected a name and a path without ',', '=' and '@', found {text!r}",
                reason="ADAPTER_FORMAT",
            )


def _graphs(sizes: Iterable[int] | None) -> str | None:
    return None if sizes is None else ",".join(map(str, sizes)) or "0"
