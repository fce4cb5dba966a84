"""TGI as a backend that starts its launcher: the router, and a shard for each tensor-parallel rank."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from bellhousing.backend import ModelInfo
from bellhousing.events import Progress
from bellhousing.process.command import Command, first_ending
from bellhousing.process.ports import free_port
from bellhousing.sources import sha256_of_files
from bellhousing_tgi.description import described
from bellhousing_tgi.launcher import REASONS, check, command_line, effective, environment, weights
from bellhousing_tgi.options import TgiOptions
from bellhousing_tgi.router import RouterBackend


class TgiBackend(RouterBackend):
    """Starts `text-generation-launcher` on a loopback port with a key of its own, and ends it."""

    name: ClassVar[str] = "tgi"
    Options = TgiOptions

    _command: Command | None = None
    _directory: str = ""

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Start the launcher; return once the router answers: it does so after loading and warming up."""
        settings, options = self.spec.settings, self.options
        check(settings)
        model, adapters = await asyncio.to_thread(self._digests, progress)
        progress(Progress("starting text-generation-launcher"))
        port, key = free_port(), secrets.token_urlsafe(32)
        self._directory = await asyncio.to_thread(tempfile.mkdtemp, prefix="bellhousing-tgi-")
        sockets = Path(self._directory) / "shard"
        assert self.spec.path
        command = command_line(self.spec.path, settings, options, port=port, master_port=free_port(), sockets=sockets)
        self._command = Command(self.spec.name, command, environment(options, key), backend=self.name)
        api = self._open(f"http://127.0.0.1:{port}", key)
        await self._command.start(api.is_well, seconds=options.start_seconds)
        router = await self._asked(adapters)
        return described(
            router,
            effective(settings, options),
            REASONS,
            adapters,
            model_digest=model,
            precision=options.quantize or options.dtype or "",
        )

    async def stop(self) -> None:
        """End the launcher and all that it started."""
        await super().stop()
        command, self._command = self._command, None
        if command:
            await command.stop()
        directory, self._directory = self._directory, ""
        if directory:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def died(self) -> str:
        """Return when the launcher has ended, as it does after a shard's death, or the router says no more."""
        assert self._command
        return await first_ending(self._command.died(), super().died())

    def _digests(self, progress: Callable[[Progress], None]) -> tuple[str, dict[str, str]]:
        """Return the digest of the model's weights, and of each adapter's."""
        model = weights(self.spec.path, "model")
        adapters = {name: weights(path, f"adapter {name!r}") for name, path in self.options.adapters.items()}
        return sha256_of_files(model, progress), {
            name: sha256_of_files(files, progress) for name, files in adapters.items()
        }
