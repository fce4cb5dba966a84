"""Options of the llama.cpp backend."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from bellhousing.settings import Strict

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


class Lora(Strict):
    """Adapters. Core's `adapter_slots` says how many are loaded at once."""

    change: Literal["beside", "after"] = Field(
        "beside",
        description="When the next engine is loaded, with another set of adapters: beside the one that serves, which"
        " takes memory for both, or after it has finished its requests, while new ones wait.",
    )
    turn_seconds: float = Field(
        1.0,
        ge=0,
        description="The engine computes for one adapter, or the base model, at a time. Once a request has waited this"
        " long for its adapter's turn, no more join the turn of another.",
    )
    cache_directory: Path | None = Field(
        None, description="Where the engine's copies of adapters are kept; unset: in the user's cache directory."
    )
    cache_bytes: int = Field(20 * 2**30, ge=1, description="Most bytes of the copies of adapters on the disk.")


class LlamaCppOptions(Strict):
    """How llama.cpp runs; what every engine shares is in `batching` and `parallelism`."""

    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads that decode.")
    threads_batch: int | None = Field(None, ge=1, description="Threads in prefill; unset: as many as decode.")
    gpu_layers: int = Field(-1, ge=-1, description="Layers put on a GPU; -1 as many as fit, 0 none.")
    context_per_sequence: int | None = Field(
        None,
        ge=256,
        multiple_of=256,
        description="Tokens of prompt and output of one request; unset: what the model was trained for, at most 4096.",
    )
    micro_batch: int = Field(512, ge=1, description="Most tokens computed in one pass (n_ubatch).")
    flash_attention: Literal["auto", "on", "off"] = Field("auto", description="Whether attention is computed in tiles.")
    cache_type_k: CacheType = Field("f16", description="Precision of the keys in the KV cache.")
    cache_type_v: CacheType = Field(
        "f16", description="Precision of the values in the KV cache; less than 16 bits needs flash attention."
    )
    offload_kv: bool = Field(default=True, description="Keep the KV cache of offloaded layers on the GPU.")
    use_mmap: bool = Field(default=True, description="Map the file instead of reading it.")
    prefix_cache: bool = Field(
        default=True,
        description="Reuse what was computed for the beginning of an earlier prompt. llama.cpp does not promise equal"
        " bits then, so a near tie between two tokens may fall differently.",
    )
    prefix_cache_mib: int = Field(
        1024, ge=0, description="Most host memory for prompts that have left their place in the KV cache, in MiB."
    )
    max_grammar_bytes: int = Field(
        65_536, ge=1, description="Greatest length of a schema, regular expression, grammar or list of choices."
    )
    hang_seconds: float = Field(
        120.0,
        gt=0,
        description="The engine counts as dead when its loop answers nothing for this long. One step of prefill must"
        " be shorter: on a slow machine lower batching.max_batched_tokens or raise this.",
    )
    lora: Lora = Field(Lora(), description="Adapters.")
