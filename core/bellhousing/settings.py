"""Settings that every engine shares, and the specification a backend is built from."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A settings model that refuses unknown keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Batching(Strict):
    """How much the engine takes at once. Unset leaves the choice to the backend."""

    max_sequences: int | None = Field(None, ge=1, description="Most sequences that the engine decodes at once.")
    max_batched_tokens: int | None = Field(None, ge=1, description="Most tokens in one step of the engine.")
    max_total_tokens: int | None = Field(
        None, ge=1, description="Most tokens of all running sequences together: the size of the KV cache."
    )


class Parallelism(Strict):
    """How the model is spread over devices; 1 is not at all."""

    tensor: int = Field(1, ge=1, description="Tensor-parallel size.")
    pipeline: int = Field(1, ge=1, description="Pipeline-parallel size.")
    data: int = Field(1, ge=1, description="Data-parallel size.")


class EngineSettings(Strict):
    """The settings shared by all engines. As `ModelInfo.effective`, None means the engine does not honour it."""

    batching: Batching = Batching()
    parallelism: Parallelism = Parallelism()


class ModelSpec(Strict):
    """What a backend is to serve. `path` is on this machine's disk; None for a backend that needs no weights."""

    name: str
    path: Path | None = None
    settings: EngineSettings = EngineSettings()
