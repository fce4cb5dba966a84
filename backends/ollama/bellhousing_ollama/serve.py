"""A supervised `ollama serve`: its environment, its start on a free port, and the version it must have."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.process.command import Command
from bellhousing.process.ports import free_port
from bellhousing_ollama.api import Api
from bellhousing_ollama.errors import NAME
from bellhousing_ollama.options import OllamaOptions
from bellhousing_ollama.shape import Shape

OLDEST = (0, 34)
"""Older ones ignore `truncate`, `shift` or the cached tokens without a word."""
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
PORTS_TRIED = 3
PORT_TAKEN = "address already in use"


class Serve:
    """One run of `ollama serve`; `api` is there between `open` and `close`."""

    api: Api

    def __init__(self, model: str, options: OllamaOptions, shape: Shape, store: Path) -> None:
        self._model = model
        self._options = options
        self._shape = shape
        self._store = store
        self._command: Command | None = None

    async def open(self) -> None:
        """Start it on a free port. Raises `ConfigurationError` without Ollama, `EngineUnavailable` when it fails."""
        executable = found_executable(self._options.executable)
        for tried in range(1, PORTS_TRIED + 1):
            try:
                return await self._start(executable, free_port())
            except EngineUnavailable as error:
                # Between our look and its start another program may take the port.
                if PORT_TAKEN not in error.message or tried == PORTS_TRIED:
                    raise
        return None

    async def _start(self, executable: str, port: int) -> None:
        environment = serve_environment(os.environ, self._options, self._shape, self._store, port)
        self.api = Api(f"http://127.0.0.1:{port}")
        self._command = Command(self._model, (executable, "serve"), environment, backend=NAME)
        try:
            await self._command.start(self.api.is_well, seconds=READY_SECONDS)
        except BaseException:
            await self.api.close()
            raise

    @property
    def pid(self) -> int | None:
        """The id of its process and group; None while there is none."""
        return self._command.pid if self._command else None

    async def died(self) -> str:
        """Return how it ended by itself; wait for ever while it lives."""
        if self._command is None:
            raise RuntimeError("Ollama was not started")
        return await self._command.died()

    async def close(self) -> None:
        """End it and its runners. Safe to call twice."""
        if self._command:
            await self.api.close()
            await self._command.stop(STOP_SECONDS)


def found_executable(wanted: str) -> str:
    """Return the path of Ollama's command. Raises `ConfigurationError` where there is none."""
    found = shutil.which(wanted)
    if found is None:
        raise ConfigurationError(
            f"options.executable: expected Ollama's command, found none at {wanted!r}",
            reason="NO_ENGINE",
            backend=NAME,
            hint="docs/backends/ollama.md tells how to install it.",
        )
    return str(Path(found).absolute())


def serve_environment(
    ours: Mapping[str, str], options: OllamaOptions, shape: Shape, store: Path, port: int
) -> dict[str, str]:
    """Return the environment: ours without what is Ollama's, and the settings by its names."""
    kept = {name: value for name, value in ours.items() if not name.startswith("OLLAMA_")}
    environment = {
        **kept,
        # It writes a key and a history there.
        "HOME": str(store),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(store),
        "OLLAMA_NUM_PARALLEL": str(shape.sequences),
        "OLLAMA_CONTEXT_LENGTH": str(shape.context_per_sequence),
        "OLLAMA_MAX_LOADED_MODELS": str(1 + options.adapters),
        # It bounds only what waits for a load, and core sends no more than runs at once.
        "OLLAMA_MAX_QUEUE": str(512 + shape.sequences),
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_LOAD_TIMEOUT": f"{options.load_seconds:g}s",
        "OLLAMA_KV_CACHE_TYPE": options.kv_cache_type,
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOPRUNE": "0",
        # Ollama would replace the file's chat template by one that it takes for similar.
        "OLLAMA_GO_TEMPLATE": "0",
    }
    if options.flash_attention != "auto":
        environment["OLLAMA_FLASH_ATTENTION"] = str(int(options.flash_attention == "on"))
    if shape.pipeline > 1:
        environment["OLLAMA_SCHED_SPREAD"] = "1"
    return environment


def check_version(found: str) -> None:
    """Raise `ConfigurationError` for an Ollama that is too old, or is none."""
    match = re.match(r"(\d+)\.(\d+)", found)
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        raise ConfigurationError(
            f"expected Ollama {OLDEST[0]}.{OLDEST[1]} or later, found {found or 'a server without a version'!r}",
            reason="ENGINE_VERSION",
            backend=NAME,
        )
