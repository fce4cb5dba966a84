"""A server in a process of its own, exactly as `bellhousing serve` runs it, for what measures or judges one."""

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bellhousing.client import AsyncClient, RetryPolicy
from bellhousing.errors import ConfigurationError, DeadlineExceeded, EngineUnavailable

STOP_SECONDS = 15.0
POLL_SECONDS = 0.1


class ServerProcess:
    """A server of `models` (as the configuration has them) on a loopback port, which it keeps over restarts.

    Use it as `async with`: leaving ends the server and its engines. `python` is the interpreter that runs it, this one
    unless told: an engine may have an environment of its own. `variables` are environment variables for it, beside this
    process's own without those that begin with `BELLHOUSING_`. Adapters are forgotten at the end, unless these name a
    registry: what is measured must not depend on what was before.
    """

    def __init__(
        self,
        models: Sequence[Mapping[str, Any]],
        *,
        python: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._variables = dict(variables or {})
        self._python = str(python or sys.executable)
        self.address = f"127.0.0.1:{_free_port()}"
        self._models = json.dumps([dict(model) for model in models])
        self._directory = tempfile.TemporaryDirectory(prefix="bellhousing-server-")
        self._words = Path(self._directory.name) / "output"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "ServerProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._directory.cleanup()

    @property
    def pid(self) -> int | None:
        """The process that runs; None when there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the server; it may still be loading. Does nothing while one runs."""
        if self.pid is not None:
            return
        empty = Path(self._directory.name) / "bellhousing.toml"
        empty.touch()  # or the server would read the one of this directory
        variables = {k: v for k, v in os.environ.items() if not k.startswith("BELLHOUSING_")}
        variables |= {"BELLHOUSING_ADAPTERS__REGISTRY": "memory", **self._variables}
        variables["BELLHOUSING_MODELS"] = self._models
        port = self.address.rpartition(":")[2]
        command = [self._python, "-m", "bellhousing", "serve", "--config", str(empty), "--port", port]
        with self._words.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command, "--json-logs", env=variables, stdout=output, stderr=output, start_new_session=True
            )

    async def wait_serving(self, seconds: float) -> None:
        """Wait until every model serves.

        Raises `ConfigurationError` with the server's last words when it ends, `DeadlineExceeded` after `seconds`.
        """
        try:
            async with asyncio.timeout(seconds), AsyncClient(self.address, retry=RetryPolicy(attempts=1)) as client:
                while True:
                    if self.pid is None:
                        raise ConfigurationError(_last_words(self._words), reason="SERVER_ENDED")
                    with suppress(EngineUnavailable):
                        if await client.is_serving():
                            return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the server was not ready within {seconds:g} s") from error

    async def stop(self) -> None:
        """End the server as Ctrl-C twice would, so that it takes its engine with it; kill it if that fails."""
        process = self._process
        if process is None:
            return
        for end in (process.terminate, process.terminate, process.kill):
            with suppress(ProcessLookupError):
                end()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
                    return

    async def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def _last_words(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["the server ended without a word"])[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
