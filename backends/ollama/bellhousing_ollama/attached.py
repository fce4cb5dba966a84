"""An Ollama server that someone else runs, as a backend."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from bellhousing.backend import ModelInfo
from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress
from bellhousing.settings import Batching, EngineSettings
from bellhousing_ollama.adapters import DerivedModels, generate_one_token
from bellhousing_ollama.api import Api
from bellhousing_ollama.description import COMPLETION, DEFAULTS, TEMPLATE, capabilities
from bellhousing_ollama.options import AttachedOptions
from bellhousing_ollama.serve import check_version
from bellhousing_ollama.serving import OllamaServing

NAME = "ollama-attached"
MAX_SEQUENCES = 1
"""Requests sent at once where nothing else is configured: Ollama's own default, and it does not tell another."""
LOAD_SECONDS = 300.0
PULSE_SECONDS = 1.0
PULSES_MISSED = 3
"""So many missed in a row count as a death; core then attaches again and again, as it restarts an engine."""
OWN_AFFAIR = "the attached server has settings of its own"


class AttachedOllamaBackend(OllamaServing):
    """Serves one model of a running Ollama server; nothing there is created, changed or deleted."""

    name: ClassVar[str] = NAME
    Options = AttachedOptions
    needs_model: ClassVar[bool] = False

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Ask the server what it has, and load the model. Raises `ConfigurationError` or `EngineUnavailable`."""
        self._check_settings()
        progress(Progress("attaching"))
        api = self._api = Api(self.options.url)
        version = await api.version()
        check_version(version)
        self._model = self._chosen(await api.models())
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
        missed = 0
        while missed < PULSES_MISSED:
            await asyncio.sleep(PULSE_SECONDS)
            missed = 0 if self._api and await self._api.is_well() else missed + 1
        return "the Ollama server does not answer"

    def _described(self, version: str, shown: dict[str, Any], digest: str) -> ModelInfo:
        most = self.spec.settings.batching.max_sequences or MAX_SEQUENCES
        information = shown.get("model_info") or {}
        return ModelInfo(
            engine="Ollama",
            engine_version=version,
            context_length=self._context_length,
            max_running=most,
            capabilities=capabilities(
                shown.get("capabilities") or (), has_template=bool(shown.get("template")), adapters="none", sleep=False
            ),
            defaults=DEFAULTS,
            model_digest=f"sha256:{digest}" if digest else "",
            precision=str((shown.get("details") or {}).get("quantization_level", "")),
            eos_token_ids=_ids(information.get("tokenizer.ggml.eos_token_id")),
            effective=EngineSettings(batching=Batching(max_sequences=most)),
            reasons={
                "batching.max_sequences": "most requests sent to the server at once; its slots are its own affair",
                "batching.max_batched_tokens": OWN_AFFAIR,
                "batching.max_total_tokens": OWN_AFFAIR,
                TEMPLATE: "Ollama's, which may differ from the file's own: the server does not tell the file's",
            },
        )

    def _check_settings(self) -> None:
        wanted = self.spec.settings
        asked = [f"parallelism.{name}" for name, value in wanted.parallelism if value != 1]
        asked += [f"batching.{name}" for name, value in wanted.batching if value and name != "max_sequences"]
        if asked:
            raise ConfigurationError(
                f"{', '.join(asked)}: expected unset, since {OWN_AFFAIR}", reason="INVALID_CONFIG", backend=NAME
            )

    def _chosen(self, models: list[str]) -> str:
        """Return the wanted model, or the only one. Raises `ConfigurationError`."""
        wanted = self.options.served_model
        if not wanted and len(models) == 1:
            return models[0]
        name = wanted if ":" in wanted.rpartition("/")[2] else f"{wanted}:latest"
        if name not in models:
            raise ConfigurationError(
                f"options.served_model: expected one of {', '.join(sorted(models)) or 'none'}, found {wanted!r}",
                reason="NO_MODEL",
                backend=NAME,
            )
        return name


def _ids(found: object) -> tuple[int, ...]:
    return (found,) if isinstance(found, int) else ()
