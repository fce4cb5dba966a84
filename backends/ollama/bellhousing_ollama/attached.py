"""An Ollama server that someone else runs, as a backend."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from bellhousing.attachment import REASONS, check_settings, chosen_model, effective_settings, until_unwell
from bellhousing.backend import ModelInfo
from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress
from bellhousing_ollama.adapters import DerivedModels, generate_one_token
from bellhousing_ollama.api import Api, full_name
from bellhousing_ollama.description import ATTACHED_BOUNDS, COMPLETION, TEMPLATE, capabilities
from bellhousing_ollama.options import AttachedOptions
from bellhousing_ollama.serve import check_version
from bellhousing_ollama.serving import OllamaServing

NAME = "ollama-attached"
MAX_SEQUENCES = 1
"""Requests sent at once where nothing else is configured: Ollama's own default, and it does not tell another."""
LOAD_SECONDS = 300.0


class AttachedOllamaBackend(OllamaServing):
    """Serves one model of a running Ollama server; nothing there is created, changed or deleted."""

    name: ClassVar[str] = NAME
    Options = AttachedOptions
    bounds = ATTACHED_BOUNDS
    needs_model: ClassVar[bool] = False

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Ask the server what it has, and load the model. Raises `ConfigurationError` or `EngineUnavailable`."""
        check_settings(self.spec.settings)
        progress(Progress("attaching"))
        api = self._api = Api(self.options.url, await asyncio.to_thread(self.options.key))
        version = await api.version()
        check_version(version)
        self._model = chosen_model(full_name(self.options.served_model), await api.models())
        context = self.options.context_per_sequence
        self._runner = {"num_ctx": context} if context else {}
        self._derived = DerivedModels(api, self._model, None, self._runner, 0)
        shown = await api.post("/api/show", {"model": self._model})
        progress(Progress("loading"))
        if COMPLETION in (shown.get("capabilities") or ()):
            await generate_one_token(api, self._model, self._runner, LOAD_SECONDS)
        else:
            await self._embedded("a", is_cut=False)
        loaded = (await api.loaded()).get(self._model) or {}
        self._context_length = int(loaded.get("context_length") or 0)
        if not self._context_length:
            raise ConfigurationError(
                f"model {self._model!r}: expected it among the loaded ones of the server, found it gone at once",
                reason="NOT_KEPT",
                hint="The server's OLLAMA_KEEP_ALIVE must not be 0.",
            )
        return self._described(version, shown, str(loaded.get("digest", "")))

    async def stop(self) -> None:
        """Close the connections. The server goes on as it was."""
        api, self._api = self._api, None
        if api:
            await api.close()

    async def died(self) -> str:
        """Return when the server has not answered for a few seconds."""
        await until_unwell(self._connected().is_well)
        return "the Ollama server does not answer"

    def _described(self, version: str, shown: dict[str, Any], digest: str) -> ModelInfo:
        most = self.spec.settings.batching.max_sequences or MAX_SEQUENCES
        found = capabilities(
            shown.get("capabilities") or (), has_template=bool(shown.get("template")), adapters="none", sleep=False
        )
        information = shown.get("model_info") or {}
        return ModelInfo(
            engine="Ollama",
            engine_version=version,
            context_length=self._context_length,
            max_running=most,
            capabilities=found,
            defaults=found.neutral(),
            model_digest=f"sha256:{digest}" if digest else "",
            precision=str((shown.get("details") or {}).get("quantization_level", "")),
            eos_token_ids=_ids(information.get("tokenizer.ggml.eos_token_id")),
            effective=effective_settings(most),
            reasons={
                **REASONS,
                TEMPLATE: "Ollama's, which may differ from the file's own: the server does not tell the file's",
            },
        )


def _ids(found: object) -> tuple[int, ...]:
    return (found,) if isinstance(found, int) else ()
