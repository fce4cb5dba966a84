"""Options of the two Ollama backends."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from bellhousing.attachment import Attachment
from bellhousing.settings import Strict

CONTEXT_UNIT = 256
"""Ollama pads a context to a multiple of it; another would be reported wrongly."""


class OllamaOptions(Strict):
    """How Ollama and its runner work; what every engine shares is in `batching` and `parallelism`."""

    executable: str = Field("ollama", description="Ollama's command: a path, or a name that is looked up in PATH.")
    pull: str = Field(
        "", description="Name of a model that Ollama fetches from its registry, such as `llama3.2:1b`, if not a file."
    )
    pull_insecure: bool = Field(default=False, description="Allow a registry without TLS.")
    store: Path | None = Field(
        None,
        description="Directory for the models of this server; a second server must have another. Unset: one in the"
        " user's cache, by the model's name.",
    )
    context_per_sequence: int | None = Field(
        None,
        ge=CONTEXT_UNIT,
        multiple_of=CONTEXT_UNIT,
        description="Tokens of prompt and output of one request (num_ctx); unset: what the model was trained for, at"
        " most 4096.",
    )
    threads: int | None = Field(None, ge=1, description="Threads that decode (num_thread); unset: Ollama's choice.")
    gpu_layers: int | None = Field(None, ge=0, description="Layers put on a GPU (num_gpu); unset: as many as fit.")
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] = Field("f16", description="Precision of the KV cache.")
    flash_attention: Literal["auto", "on", "off"] = Field("auto", description="Whether attention is computed in tiles.")
    adapters: int = Field(
        0,
        ge=0,
        description="Most adapters loaded at once, each a runner with a copy of the weights; 0 declares no adapters.",
    )
    load_seconds: float = Field(300.0, gt=0, description="Longest time for loading the model.")


class AttachedOptions(Attachment):
    """Which server, and which of its models. What it keeps loaded, and for how long, is its own affair."""

    url: str = Field("http://127.0.0.1:11434", description="Address of the Ollama server.")
    served_model: str = Field("", description="Name of the model there; unset: the only one.")
    context_per_sequence: int | None = Field(
        None,
        ge=CONTEXT_UNIT,
        multiple_of=CONTEXT_UNIT,
        description="Tokens of prompt and output of one request (num_ctx), sent with each; another client that sends"
        " another makes Ollama load the model anew. Unset: the server's own.",
    )
