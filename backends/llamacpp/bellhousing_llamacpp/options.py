"""Options of the llama.cpp backend."""

import os
from typing import Literal

from pydantic import Field

from bellhousing.settings import Strict

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]


class LlamaCppOptions(Strict):
    """How llama.cpp runs; what every engine shares is in `batching` and `parallelism`."""

    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads that decode.")
    gpu_layers: int = Field(-1, ge=-1, description="Layers put on a GPU; -1 as many as fit, 0 none.")
    context_per_sequence: int | None = Field(
        None, ge=16, description="Tokens of prompt and output of one request; unset: the model's, at most 4096."
    )
    micro_batch: int = Field(512, ge=1, description="Most tokens computed in one pass (n_ubatch).")
    prefix_cache: bool = Field(
        default=True, description="Reuse the computed prefix of an earlier prompt; off makes runs exactly repeatable."
    )
    use_mmap: bool = Field(default=True, description="Map the file instead of reading it.")
