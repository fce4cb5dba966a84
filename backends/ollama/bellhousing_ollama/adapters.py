"""LoRA adapters as Ollama has them: each is a model of its own, derived from the base, with its own runner."""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bellhousing.backend import AdapterFiles
from bellhousing.errors import BellhousingError, EngineUnavailable, NotFound, Overloaded, PreconditionFailed
from bellhousing.gguf import Header
from bellhousing.lora import CONFIG, WEIGHTS, check_adapter, check_gguf_adapter
from bellhousing.safetensors import Shapes
from bellhousing.sources import sha256_of
from bellhousing_ollama.api import Api, quietly_deleted
from bellhousing_ollama.errors import NAME

PREFIX = "bellhousing-adapter-"
MODULES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
"""GGUF's names of a layer's modules, and PEFT's, for the Llama family."""
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")
MAX_RANK = 4096
CREATE_SECONDS = 600.0


def adapter_model(adapter: AdapterFiles) -> str:
    """Return the name of the derived model: another for each name and content."""
    return PREFIX + hashlib.sha256(f"{adapter.name}\0{adapter.digest}".encode()).hexdigest()[:16]


class DerivedModels:
    """The adapters that are loaded, over one base model; at most `most` at once.

    `header` is the base's own; `runner` are the options that every request sends.
    """

    def __init__(self, api: Api, base: str, header: Header | None, runner: Mapping[str, int], most: int) -> None:
        self._api = api
        self._base = base
        self._header = header
        self._runner = runner
        self._most = most
        self._models: dict[str, str] = {}

    def model_of(self, adapter: str) -> str:
        """Return the model that serves an adapter, or the base for none. Raises `NotFound`."""
        if not adapter:
            return self._base
        if adapter not in self._models:
            raise NotFound("adapter", adapter, self._models)
        return self._models[adapter]

    async def clear(self) -> None:
        """Delete what an earlier life of ours, ended without a word, has left."""
        for model in await self._api.models():
            if model.startswith(PREFIX):
                await quietly_deleted(self._api, model)

    async def load(self, adapter: AdapterFiles) -> None:
        """Check an adapter's files, derive a model and let it generate a token. Nothing is left when that fails.

        Raises `PreconditionFailed` for an adapter that does not fit, `Overloaded` when no more may be loaded.
        """
        if len(self._models) >= self._most:
            raise Overloaded(
                f"{self._most} adapters are loaded, expected fewer",
                reason="ADAPTER_SLOTS_FULL",
                hint="Set models.adapter_slots to options.adapters.",
                retry_after=1.0,
            )
        await asyncio.to_thread(self._check, adapter)
        model = adapter_model(adapter)
        try:
            await self._create(adapter, model)
            await generate_one_token(self._api, model, self._runner, CREATE_SECONDS)
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(quietly_deleted(self._api, model)))
            if isinstance(error, BellhousingError) and await self._api.is_well():
                raise _refused(adapter.name, error.message) from error
            raise
        self._models[adapter.name] = model

    async def unload(self, name: str) -> None:
        """End the runner of an adapter, and delete its model."""
        model = self.model_of(name)
        del self._models[name]
        await self._api.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False}, patience=60)
        await self._api.delete(model)

    async def unload_all(self) -> None:
        """Unload every adapter, as far as the server still answers."""
        for model in self._models.values():
            await quietly_deleted(self._api, model)
        self._models.clear()

    async def _create(self, adapter: AdapterFiles, model: str) -> None:
        files = {}
        for file in _files(Path(adapter.path)):
            digest = await asyncio.to_thread(sha256_of, file, lambda _: None)
            await self._api.upload(file, digest)
            files[file.name] = digest
        body = {"model": model, "from": self._base, "adapters": files}
        async for _step in self._api.steps("/api/create", body):
            pass

    def _check(self, adapter: AdapterFiles) -> None:
        """Refuse what does not fit the base, as far as files tell: Ollama accepts most of it."""
        path = Path(adapter.path)
        if any(file.suffix == ".gguf" for file in _files(path)):
            check_gguf_adapter(adapter.name, _files(path)[0], self._header)
        else:
            check_adapter(adapter, peft_shapes(self._header), MAX_RANK)


async def generate_one_token(api: Api, model: str, runner: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """Load a model and have it generate a token. Raises what Ollama answers, `EngineUnavailable` for a silent end."""
    options = {"num_predict": 1, "temperature": 0, **runner}
    body = {
        "model": model,
        "prompt": "a",
        "raw": True,
        "stream": False,
        "options": options,
        "truncate": False,
        "shift": False,
    }
    answer = await api.post("/api/generate", body, patience=seconds)
    if not answer.get("done"):
        raise EngineUnavailable(f"Ollama loaded {model!r} and generated nothing", backend=NAME)
    return answer


def peft_shapes(header: Header | None) -> Shapes:
    """Return the shapes of a GGUF model's tensors under the names that PEFT has for them."""
    found: Shapes = {}
    for name, shape in (header.shapes if header else {}).items():
        match = _LAYER.fullmatch(name)
        if match and match[2] in MODULES:
            found[f"model.layers.{match[1]}.{MODULES[match[2]]}.weight"] = shape
    return found


def _files(path: Path) -> list[Path]:
    """Return the files that make the adapter: one GGUF, or PEFT's two."""
    if path.is_file():
        return [path] if path.suffix == ".gguf" else [path, path.parent / CONFIG]
    return sorted(path.glob("*.gguf")) or [path / WEIGHTS, path / CONFIG]


def _refused(name: str, why: str) -> PreconditionFailed:
    return PreconditionFailed(f"adapter {name!r}: {why}", reason="ADAPTER_FORMAT", backend=NAME)
