"""A real server on a loopback port, around one backend."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bellhousing.backend import Backend
from bellhousing.client import AsyncClient, RetryPolicy
from bellhousing.config import load_config
from bellhousing.models import ServedModel
from bellhousing.plugins import Plugins
from bellhousing.server import Server


@dataclass(frozen=True, slots=True)
class Served:
    """A running server and a client of it that never tries again by itself."""

    server: Server
    client: AsyncClient

    @property
    def address(self) -> str:
        """Where the server listens."""
        return self.server.address

    @property
    def model(self) -> ServedModel:
        """The model that is served."""
        return next(iter(self.server.models))


@asynccontextmanager
async def serving(
    backend: type[Backend] | str,
    *,
    options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    plugin: object | None = None,
) -> AsyncIterator[Served]:
    """Serve one model on a free port for the body, then end everything.

    `backend` is a class or the name of an installed backend; `model` and `config` add to the model's and the server's
    configuration, nested like `bellhousing.toml`. Raises what starting the server or loading the model raises.
    """
    known = {} if isinstance(backend, str) else {backend.name: backend}
    name = backend if isinstance(backend, str) else backend.name
    flags: dict[str, Any] = {
        "adapters": {"registry": "memory"},
        **(config or {}),
        "server": {"port": 0, **(config or {}).get("server", {})},
        "models": [{"backend": name, "options": options or {}, **(model or {})}],
    }
    plugins = Plugins()
    if plugin is not None:
        plugins.register(plugin)
    server = Server(load_config(None, flags), plugins, backends=known)
    try:
        await server.start()
        await server.wait_serving()
        async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:
            yield Served(server, client)
    finally:
        await server.stop()
