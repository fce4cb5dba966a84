"""A supervised Ollama server as a backend.

Inline, not in a process of its own: the engine is a process anyway, and another between it and the server would only
add a hop to every token.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from bellhousing.attachment import until_unwell
from bellhousing.backend import ModelInfo
from bellhousing.capabilities import AdapterSupport
from bellhousing.errors import BellhousingError, ConfigurationError, EngineFault, EngineUnavailable
from bellhousing.events import Progress
from bellhousing.gguf import Header, model_files, read_header
from bellhousing.process.command import first_ending
from bellhousing.sources import sha256_of
from bellhousing_ollama.adapters import DerivedModels, generate_one_token
from bellhousing_ollama.api import full_name, quietly_deleted
from bellhousing_ollama.chat_template import divergence
from bellhousing_ollama.description import BOUNDS, TEMPLATE, capabilities, effective_settings, reasons
from bellhousing_ollama.errors import DISK_FULL, NAME
from bellhousing_ollama.options import OllamaOptions
from bellhousing_ollama.serve import Serve, check_version
from bellhousing_ollama.serving import OllamaServing
from bellhousing_ollama.shape import Shape, shape_of
from bellhousing_ollama.store import Store

UNLOAD_SECONDS = 30.0
POLL_SECONDS = 0.05
logger = logging.getLogger(__name__)


class OllamaBackend(OllamaServing):
    """Serves one GGUF file, or one model of a registry, with an Ollama server of its own."""

    name: ClassVar[str] = NAME
    Options = OllamaOptions
    bounds = BOUNDS
    needs_model: ClassVar[bool] = False  # a name to pull will do

    _serve: Serve | None = None
    _store: Store | None = None
    _is_stopping = False
    _is_pulling = False

    @classmethod
    def tunables(cls) -> Mapping[str, Sequence[int]]:
        """Return the slots of a runner, and the tokens of a step."""
        return {"batching.max_sequences": (1, 2, 4, 8), "batching.max_batched_tokens": (256, 512, 1024)}

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Start Ollama, bring the model into its store, and load it.

        Raises `ConfigurationError`, or `EngineUnavailable` when Ollama does not start.
        """
        file, header = await asyncio.to_thread(self._file)
        # What a model to pull was trained for is known only once it is there; Ollama then cuts to it.
        shape = shape_of(self.spec.settings, self.options, header.context_length if header else 0)
        store = self._store = Store.open(self.options.store, self.spec.name)
        serve = self._serve = Serve(self.spec.name, self.options, shape, store.path)
        await serve.open()
        api = self._api = serve.api
        version = await api.version()
        check_version(version)
        if file:
            self._model = await self._imported(store, file, progress)
        else:
            self._model = await self._pulled(progress)
        shown = await api.post("/api/show", {"model": self._model})
        if header is None:
            header = _blob_header(shown)
        progress(Progress("loading"))
        self._runner = self._runner_options(shape)
        self._derived = DerivedModels(api, self._model, header, self._runner, self.options.adapters)
        await self._derived.clear()
        await self._loaded(shown)
        loaded = _named(await api.loaded(), self._model)
        self._context_length = int(loaded.get("context_length") or shape.context_per_sequence)
        return await self._described(version, shape, header, shown, str(loaded.get("digest", "")))

    async def stop(self) -> None:
        """End Ollama and its runners, and give the store free."""
        self._is_stopping = True
        try:
            if self._api and getattr(self, "_derived", None):
                with suppress(BellhousingError):
                    await self._derived.unload_all()
        finally:
            self._api = None
            if self._serve:
                await self._serve.close()
            if self._store:
                if self._is_pulling:
                    self._store.forget_partials()
                self._store.close()

    async def died(self) -> str:
        """Return how Ollama ended by itself, or that it no longer answers."""
        if self._serve is None:
            return await super().died()
        return await first_ending(self._serve.died(), self._silent())

    async def sleep(self, level: int) -> None:  # noqa: ARG002 - Ollama has one: it ends the runner
        """End the runner: both levels give all memory back, and the file may stay in the system's cache."""
        api = self._connected()
        await api.post("/api/generate", {"model": self._model, "keep_alive": 0, "stream": False})
        async with asyncio.timeout(UNLOAD_SECONDS):
            while _named(await api.loaded(), self._model):  # noqa: ASYNC110 - Ollama tells only when it is asked
                await asyncio.sleep(POLL_SECONDS)

    async def wake(self) -> None:
        """Load the model again."""
        await generate_one_token(self._connected(), self._model, self._runner, self.options.load_seconds)

    async def _silent(self) -> str:
        await until_unwell(self._is_well)
        return "its server does not answer"

    async def _is_well(self) -> bool:
        return self._is_stopping or (self._api is not None and await self._api.is_well())

    def _file(self) -> tuple[Path | None, Header | None]:
        """Return the model's file and its header, None for a model to pull."""
        if bool(self.spec.path) == bool(self.options.pull):
            found = "both" if self.spec.path else "neither"
            raise ConfigurationError(
                f"model, options.pull: expected either a GGUF file or a name to pull, found {found}",
                reason="NO_MODEL",
                backend=NAME,
            )
        if not self.spec.path:
            return None, None
        files = model_files(self.spec.path)
        if len(files) > 1:
            raise ConfigurationError(
                f"model {str(files[0])!r}: expected one GGUF file, found {len(files)} parts; llama.cpp's"
                " `llama-gguf-split --merge` joins them",
                reason="BAD_MODEL",
                backend=NAME,
            )
        return files[0], read_header(files[0])

    async def _imported(self, store: Store, file: Path, progress: Callable[[Progress], None]) -> str:
        """Bring a file into the store, under a name made of its digest; return the name."""
        digest = await asyncio.to_thread(sha256_of, file, progress)
        model = f"bellhousing-{digest.partition(':')[2][:16]}:latest"
        api = self._connected()
        if model in await api.models():
            return model
        await asyncio.to_thread(store.check_room, file)
        progress(Progress("importing"))
        try:
            await api.upload(file, digest)
            async for step in api.steps("/api/create", {"model": model, "files": {"model.gguf": digest}}):
                progress(Progress(str(step.get("status", ""))))
        except (EngineFault, EngineUnavailable) as error:
            await quietly_deleted(api, model)
            raise _not_taken(f"model {str(file)!r}", error) from error
        return model

    async def _pulled(self, progress: Callable[[Progress], None]) -> str:
        """Fetch the model unless it is there. When that fails, or is cancelled, nothing is left of it."""
        api, model = self._connected(), str(self.options.pull)
        # A name may say how its registry is reached; Ollama lists it without.
        name = full_name(model.partition("://")[2] or model)
        if name in await api.models():
            return name
        self._is_pulling = True
        body = {"model": model, "insecure": self.options.pull_insecure}
        try:
            async for step in api.steps("/api/pull", body):
                done, total = int(step.get("completed", 0)), int(step.get("total", 0))
                progress(Progress(str(step.get("status", "")), done, total, "bytes" if total else ""))
        except (EngineFault, EngineUnavailable) as error:
            raise _not_taken(f"options.pull {model!r}", error) from error
        self._is_pulling = False
        return name

    def _runner_options(self, shape: Shape) -> dict[str, int]:
        found = {
            "num_ctx": shape.context_per_sequence,
            "num_batch": shape.batched_tokens,
            "num_thread": self.options.threads,
            "num_gpu": self.options.gpu_layers,
        }
        return {name: value for name, value in found.items() if value is not None}

    async def _loaded(self, shown: dict[str, Any]) -> None:
        """Load the model; one that only embeds by its first embedding."""
        try:
            if "completion" in (shown.get("capabilities") or ()):
                await generate_one_token(self._connected(), self._model, self._runner, self.options.load_seconds)
            else:
                await self._embedded("a", is_cut=False)
        except BellhousingError as error:
            if self._serve and self._serve.pid is None:
                raise
            raise ConfigurationError(
                f"Ollama cannot load {str(self.spec.path or self.options.pull)!r}: {error.message}",
                reason="BAD_MODEL",
                backend=NAME,
            ) from error

    async def _described(
        self, version: str, shape: Shape, header: Header | None, shown: dict[str, Any], digest: str
    ) -> ModelInfo:
        settings, told = self.spec.settings, shown.get("capabilities") or ()
        found = reasons(settings, self.options, shape)
        has_template = bool(header.chat_template) if header else True
        if header and has_template and "completion" in told:
            eos = _end_text(header)
            if differs := await divergence(self._connected(), self._model, header.chat_template, eos=eos):
                logger.warning("model %r: %s", self.spec.name, differs)
                found[TEMPLATE] = differs
        adapters: AdapterSupport = "derived" if self.options.adapters else "none"
        honoured = capabilities(told, has_template=has_template, adapters=adapters, sleep=True)
        digest = await asyncio.to_thread(sha256_of, self.spec.path, lambda _: None) if self.spec.path else digest
        return ModelInfo(
            engine="Ollama",
            engine_version=version,
            context_length=self._context_length,
            max_running=shape.sequences,
            capabilities=honoured,
            defaults=honoured.neutral(),
            vocabulary_size=header.vocabulary_size if header else 0,
            model_digest=digest,
            tokenizer_digest=header.tokenizer_digest if header else "",
            precision=header.precision if header else str((shown.get("details") or {}).get("quantization_level", "")),
            eos_token_ids=header.eos_token_ids if header else (),
            effective=effective_settings(settings, shape),
            reasons=found,
        )


def _named(loaded: Mapping[str, dict[str, Any]], model: str) -> dict[str, Any]:
    return loaded.get(model) or loaded.get(f"{model}:latest") or {}


def _end_text(header: Header) -> str:
    if not header.pieces or not header.eos_token_ids:
        return ""
    return header.pieces[header.eos_token_ids[0]].decode(errors="replace")


def _blob_header(shown: Mapping[str, Any]) -> Header | None:
    """Return the header of the file that Ollama fetched: it tells its path only in the text of a model file."""
    for line in str(shown.get("modelfile", "")).splitlines():
        path = Path(line.removeprefix("FROM ").strip())
        if line.startswith("FROM ") and path.is_file():
            return read_header(path)
    return None


def _not_taken(what: str, error: BellhousingError) -> BellhousingError:
    """Return the error of a model that could not be brought into the store."""
    if isinstance(error, EngineUnavailable):
        return error
    is_full = bool(DISK_FULL.search(error.message))
    return ConfigurationError(
        f"{what}: {error.message}",
        reason="DISK_FULL" if is_full else "NO_MODEL",
        backend=NAME,
        hint="options.store may name a directory on a larger disk." if is_full else "",
    )
