"""One run of `text-generation-launcher`: a router and its shards, with the adapters that they were started with."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bellhousing.process.command import Command
from bellhousing.process.ports import free_port
from bellhousing.settings import ModelSpec
from bellhousing_tgi.api import Api
from bellhousing_tgi.connection import Connection, connected
from bellhousing_tgi.launcher import command_line, environment
from bellhousing_tgi.options import TgiOptions


class Run:
    """Starts the launcher on a loopback port with a key of its own, and ends it.

    `options.adapters` are those that it is started with, and `held` has the digest of each.
    """

    def __init__(self, spec: ModelSpec, options: TgiOptions, held: Mapping[str, str], backend: str) -> None:
        self.held = dict(held)
        self.options = options
        self._spec = spec
        self._backend = backend
        self._command: Command | None = None
        self._directory = ""

    async def start(self) -> Connection:
        """Return the router once it answers: it does so after loading and warming up.

        Raises `EngineUnavailable`, after which nothing is left.
        """
        port, key = free_port(), secrets.token_urlsafe(32)
        self._directory = tempfile.mkdtemp(prefix="bellhousing-tgi-")
        assert self._spec.path
        command = command_line(
            self._spec.path,
            self._spec.settings,
            self.options,
            port=port,
            master_port=free_port(),
            sockets=Path(self._directory) / "shard",
        )
        self._command = Command(self._spec.name, command, environment(self.options, key), backend=self._backend)
        api = Api(f"http://127.0.0.1:{port}", key, self._backend)
        try:
            await self._command.start(api.is_well, seconds=self.options.start_seconds)
            return await connected(api, self.held, self._backend)
        except BaseException:
            await api.close()
            await self.stop()
            raise

    async def died(self) -> str:
        """Return when the launcher has ended, as it does after a shard's death; never after `stop`."""
        assert self._command
        return await self._command.died()

    async def stop(self) -> None:
        """End the launcher and all that it started. Safe to call twice."""
        if self._command:
            await self._command.stop()
        directory, self._directory = self._directory, ""
        if directory:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
