"""What is read of a Hugging Face directory before vLLM sees it, so that what cannot work is refused by name."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress
from bellhousing.safetensors import Shapes, read_shapes
from bellhousing.settings import Parallelism
from bellhousing.sources import sha256_of, sha256_of_files

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")


@dataclass(frozen=True)
class ModelFiles:
    """A directory that holds a model. `config` is its `config.json`."""

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]

    @property
    def text_config(self) -> dict[str, Any]:
        """The part that describes the language model; of a model with more modalities it is nested."""
        nested = self.config.get("text_config")
        return nested if isinstance(nested, dict) else self.config

    @cached_property
    def shapes(self) -> Shapes:
        """The shapes of all tensors. Raises `ValueError` when a file is damaged."""
        return {name: shape for file in self.weights for name, shape in read_shapes(file).items()}

    def digest(self, progress: Callable[[Progress], None]) -> str:
        """Return the digest of the weights: those of several files in one."""
        return sha256_of_files(self.weights, progress)

    def tokenizer_digest(self, progress: Callable[[Progress], None]) -> str:
        """Return the digest of the tokenizer's file."""
        return sha256_of(next(self.path / name for name in TOKENIZER_FILES if (self.path / name).is_file()), progress)


def read_model(path: Path | None) -> ModelFiles:
    """Return the model in a directory. Raises `ConfigurationError` that names what is missing."""
    if path is None or not path.is_dir():
        raise _refused(path, "a directory with config.json, safetensors and a tokenizer", "no directory")
    file = path / "config.json"
    if not file.is_file():
        raise _refused(path, "a file config.json", "none")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _refused(file, "JSON", str(error)) from error
    if not isinstance(config, dict) or not config.get("architectures"):
        raise _refused(file, "an object with `architectures`", "none")
    weights = tuple(sorted(path.glob("*.safetensors")))
    if not weights:
        found = ", ".join(sorted(f.name for f in path.iterdir() if f.suffix in {".bin", ".pt", ".pth", ".gguf"}))
        raise _refused(path, "weights in *.safetensors", found or "none")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        raise _refused(path, f"a tokenizer, one of {', '.join(TOKENIZER_FILES)}", "none")
    return ModelFiles(path, config, weights)


def check_parallelism(model: ModelFiles, wanted: Parallelism, devices: int | None) -> None:
    """Refuse a topology that cannot be. `devices` is the number of GPUs, None on a CPU.

    Raises `ConfigurationError` with what the model has.
    """
    text = model.text_config
    heads, layers = text.get("num_attention_heads"), text.get("num_hidden_layers")
    if isinstance(heads, int) and heads % wanted.tensor:
        raise _impossible("tensor", f"a divisor of the model's {heads} attention heads", wanted.tensor)
    kv_heads = text.get("num_key_value_heads", heads)
    if isinstance(kv_heads, int) and kv_heads % wanted.tensor and wanted.tensor % kv_heads:
        expected = f"a divisor or a multiple of the model's {kv_heads} key-value heads"
        raise _impossible("tensor", expected, wanted.tensor)
    if isinstance(layers, int) and wanted.pipeline > layers:
        raise _impossible("pipeline", f"at most the model's {layers} layers", wanted.pipeline)
    needed = wanted.tensor * wanted.pipeline * wanted.data
    if devices is not None and needed > devices:
        raise ConfigurationError(
            f"parallelism: tensor {wanted.tensor} x pipeline {wanted.pipeline} x data {wanted.data} needs {needed}"
            f" devices, found {devices}",
            reason="PARALLELISM",
        )


def _impossible(kind: str, expected: str, found: int) -> ConfigurationError:
    return ConfigurationError(f"parallelism.{kind}: expected {expected}, found {found}", reason="PARALLELISM")


def _refused(path: Path | None, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(f"model {str(path)!r}: expected {expected}, found {found}", reason="INVALID_MODEL")
