"""Options of the vLLM backend."""

from typing import Any, Literal

from pydantic import Field, model_validator

from bellhousing.settings import Strict


class Lora(Strict):
    """Adapters. Those that leave the device for others wait in host memory; `adapter_slots` should be `max_loras`."""

    max_loras: int = Field(0, ge=0, description="Most adapters in one batch; 0 serves no adapters.")
    max_cpu_loras: int | None = Field(
        None,
        ge=1,
        description="Most adapters in host memory, those on the device among them; unset: the larger of `max_loras` and"
        " 64.",
    )
    host_gib: float = Field(
        4.0,
        ge=0,
        description="Most host memory of adapters off the device, GiB by the size of their files, on each rank.",
    )
    max_rank: Literal[8, 16, 32, 64, 128, 256, 320, 512] = Field(16, description="Largest rank of an adapter.")
    fully_sharded: bool = Field(default=False, description="Shard adapters over all tensor-parallel ranks.")


class VllmOptions(Strict):
    """How vLLM runs; what every engine shares is in `batching` and `parallelism`."""

    context_length: int | None = Field(
        None, ge=16, description="Tokens of prompt and output of one request; unset: what the model was trained for."
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="Precision of the weights.")
    quantization: str | None = Field(None, description="Quantisation method; unset: what the model's files say.")
    kv_cache_dtype: str = Field("auto", description="Precision of the KV cache, such as `fp8`.")
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="Share of a GPU's memory that vLLM may take; unset: 0.9."
    )
    kv_cache_gib: float | None = Field(
        None, gt=0, description="Size of the KV cache, GiB; unset: on a GPU what is left, on a CPU 1."
    )
    kv_offload_gib: float | None = Field(None, gt=0, description="Host memory for KV blocks that left the GPU, GiB.")
    weights_offload_gib: float | None = Field(
        None, gt=0, description="Weights kept in the host's memory, GiB for each GPU."
    )
    prefix_cache: bool = Field(default=True, description="Reuse the KV blocks of prompts with the same beginning.")
    eager: bool = Field(default=False, description="No compilation and no CUDA graphs: ready sooner, slower to decode.")
    executor: Literal["auto", "mp", "ray", "uni"] = Field("auto", description="What starts the ranks of a model.")
    cpu_threads_bind: str = Field(
        "nobind", description="Processors of each rank on a CPU, such as `0-3|4-7`; `auto` lets vLLM choose."
    )
    max_logprobs: int = Field(20, ge=0, le=1024, description="Most alternatives a request may ask for.")
    sleep_mode: bool = Field(default=False, description="Allow `sleep` and `wake`; needs a GPU.")
    speculative: dict[str, Any] | None = Field(None, description="Passed to vLLM as `speculative_config`.")
    lora: Lora = Field(Lora(), description="Adapters.")

    @model_validator(mode="after")
    def _cpu_loras_hold_a_batch(self) -> "VllmOptions":
        most = self.lora.max_cpu_loras
        if most is not None and most < self.lora.max_loras:
            raise ValueError(f"lora.max_cpu_loras: expected at least max_loras ({self.lora.max_loras}), found {most}")
        return self
