"""Options of the TGI backends."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bellhousing.attachment import Attachment
from bellhousing.settings import Strict

Quantization = Literal[
    "awq", "bitsandbytes", "bitsandbytes-fp4", "bitsandbytes-nf4", "compressed-tensors", "eetq", "exl2", "fp8", "gptq",
    "marlin",
]  # fmt: skip


APART = frozenset(",=@")
"""What takes the launcher's list of adapters apart."""
MOST_OF_TWO = 0.5


class AttachedTgiOptions(Attachment):
    """Which router, and its adapters. How it batches and is spread over devices is its own affair."""

    url: str = Field("http://127.0.0.1:3000", description="Address of the router.")
    adapters: tuple[str, ...] = Field(
        (), description="Names of the adapters it was started with: a router lists them nowhere."
    )


class TgiOptions(Strict):
    """How TGI is started; what every engine shares is in `batching` and `parallelism`."""

    launcher: str = Field("text-generation-launcher", description="The launcher: a name on the path, or a path.")
    start_seconds: float = Field(900.0, gt=0, description="Longest time that loading and warming up may take.")
    max_input_tokens: int | None = Field(
        None, ge=1, description="Tokens of a prompt; unset: one less than `max_total_tokens`."
    )
    max_total_tokens: int | None = Field(
        None, ge=2, description="Tokens of prompt and output of one request; unset: what the model was trained for."
    )
    max_concurrent_requests: int = Field(
        128, ge=1, description="Most requests that the router takes, running and waiting; the server sends no more."
    )
    dtype: Literal["float16", "bfloat16"] | None = Field(None, description="Precision; unset: what TGI chooses.")
    quantize: Quantization | None = Field(None, description="Quantisation method; unset: what the model's files say.")
    kv_cache_dtype: Literal["fp8_e4m3fn", "fp8_e5m2"] | None = Field(
        None, description="Precision of the KV cache; unset: that of the model."
    )
    cuda_memory_fraction: float | None = Field(
        None, gt=0, le=1, description="Share of a GPU's memory that TGI may take; unset: all of it."
    )
    cuda_graphs: tuple[int, ...] | None = Field(
        None, description="Batch sizes that get a CUDA graph; empty: none; unset: what TGI chooses."
    )
    prefix_cache: bool | None = Field(
        None,
        description="Reuse the KV blocks of equal beginnings of prompts; unset: yes, unless there are adapters.",
    )
    adapters: dict[str, Path] = Field(
        default_factory=dict, description="Adapters loaded at the start: name to directory, in safetensors."
    )
    rolling_adapters: bool = Field(
        default=False,
        description="Load adapters while serving, each by a second launcher that takes over from the first. For a while"
        " both are in memory: `cuda_memory_fraction` must leave room for two.",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> "TgiOptions":
        if self.dtype and self.quantize:
            raise ValueError(f"dtype: expected unset beside quantize = {self.quantize!r}, found {self.dtype!r}")
        if self.max_input_tokens and self.max_total_tokens and self.max_input_tokens >= self.max_total_tokens:
            raise ValueError(
                f"max_input_tokens: expected less than max_total_tokens ({self.max_total_tokens}),"
                f" found {self.max_input_tokens}"
            )
        if self.rolling_adapters and not (self.cuda_memory_fraction and self.cuda_memory_fraction <= MOST_OF_TWO):
            raise ValueError(
                f"cuda_memory_fraction: expected at most {MOST_OF_TWO} beside rolling_adapters, since two launchers are"
                f" in memory at once, found {self.cuda_memory_fraction or 'all of it'}"
            )
        bad = next((text for item in self.adapters.items() for text in map(str, item) if set(text) & APART), "")
        if bad:
            raise ValueError(f"adapters: expected names and paths without ',', '=' and '@', found {bad!r}")
        return self
