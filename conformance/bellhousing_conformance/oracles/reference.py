"""O2: a float32 model run by transformers, one sequence at a time, on the weights that the target is said to have."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs

from bellhousing.errors import ConfigurationError

KEPT = 1024
"""Most probable tokens that are kept for each place; all others are improbable in any precision."""

NEEDED = ("torch", "transformers")
WEIGHTS = ("*.safetensors", "*.gguf")
BLOCK = 1 << 20


class TransformersReference:
    """The model of a directory with safetensors, or with one GGUF file, whose weights are made float32.

    What it computes is kept below `cache`, by the digest of the weights and of the ids.
    """

    def __init__(self, directory: Path, cache: Path) -> None:
        self._directory = directory
        self._cache = cache
        self._model: Any = None
        self._tokenizer: Any = None
        self.digest = _digest(directory)
        self.name = f"float32 reference, {self.digest}"

    def ids(self, text: str) -> Sequence[int]:
        """Return the token ids of a text prompt, with the special tokens that the model's tokenizer adds."""
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self._directory, **self._origin())
        return [int(token) for token in self._tokenizer(text)["input_ids"]]

    def along(self, prompt: Sequence[int], output: Sequence[int]) -> Sequence[Mapping[int, float]]:
        """See `Reference.along`; of each place the `KEPT` most probable tokens. Takes seconds: call it in a thread."""
        import numpy as np

        key = hashlib.sha256(f"{self.digest}/{list(prompt)}/{list(output)}".encode()).hexdigest()
        file = self._cache / f"{key}.npz"
        if not file.is_file():
            tokens, logprobs = self._computed(prompt, output)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part.npz")
            np.savez(part, tokens=tokens, logprobs=logprobs)
            part.replace(file)
        with np.load(file, allow_pickle=False) as kept:
            rows = zip(kept["tokens"].tolist(), kept["logprobs"].tolist(), strict=True)
            return [dict(zip(*row, strict=True)) for row in rows]

    def _computed(self, prompt: Sequence[int], output: Sequence[int]) -> tuple[Any, Any]:
        """Return the best tokens and their log probabilities, a row for each place of the output."""
        import torch

        if self._model is None:
            self._model = self._loaded()
        with torch.inference_mode():
            logits = self._model(torch.tensor([[*prompt, *output]])).logits[0, len(prompt) - 1 : -1]
            logprobs = torch.log_softmax(logits.double(), dim=-1)
            best = torch.topk(logprobs, min(KEPT, logprobs.shape[-1]))
        return best.indices.numpy(), best.values.numpy()

    def _loaded(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        return AutoModelForCausalLM.from_pretrained(
            self._directory, dtype=torch.float32, use_safetensors=True, **self._origin()
        ).eval()

    def _origin(self) -> dict[str, Any]:
        """Return where transformers loads from: this directory alone, and no code of the model's own."""
        found: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        gguf = sorted(self._directory.glob("*.gguf"))
        return {**found, "gguf_file": gguf[0].name} if gguf else found


def open_reference(directory: Path, cache: Path | None = None) -> TransformersReference:
    """Return the reference of a directory. Nothing is loaded yet, but for the digest of the weights.

    Raises `ConfigurationError` when the extra `reference` is not installed, or the directory has not either safetensors
    or exactly one GGUF file.
    """
    safetensors, gguf = (sorted(directory.glob(pattern)) for pattern in WEIGHTS)
    if bool(safetensors) == bool(gguf) or len(gguf) > 1:
        raise ConfigurationError(
            f"--reference {str(directory)!r}: expected a directory with safetensors or with one GGUF file, found "
            f"{len(safetensors)} and {len(gguf)} such files"
        )
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"--reference: expected {', '.join(missing)}, found none", hint="`pip install bellhousing[reference]`"
        )
    return TransformersReference(directory, cache or platformdirs.user_cache_path("bellhousing") / "reference")


def _digest(directory: Path) -> str:
    """Return the digest of the weights and of the configuration, by which they are read."""
    whole = hashlib.sha256()
    for pattern in (*WEIGHTS, "config.json"):
        for file in sorted(directory.glob(pattern)):
            with file.open("rb") as stream:
                while block := stream.read(BLOCK):
                    whole.update(block)
    return f"sha256:{whole.hexdigest()}"
