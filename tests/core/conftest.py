"""A real server on a loopback port, for every test that needs one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bellhousing import AsyncClient, RetryPolicy
from bellhousing.config import load_config
from bellhousing.models import ServedModel
from bellhousing.plugins import Plugins
from bellhousing.server import Server

NO_RETRY = RetryPolicy(attempts=1)


@dataclass(frozen=True)
class Served:
    """A running server and a client of it that never tries again by itself."""

    server: Server
    client: AsyncClient

    @property
    def model(self) -> ServedModel:
        return self.server.models.find("")


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def serve(
    backend: str = "simulator",
    *,
    options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    plugin: object | None = None,
) -> AsyncIterator[Served]:
    """Serve one model; `model` and `config` add to the configuration."""
    flags = {
        "server": {"port": 0, **(config or {}).get("server", {})},
        "auth": (config or {}).get("auth", {}),
        "models": [{"backend": backend, "options": options or {}, **(model or {})}],
    }
    plugins = Plugins()
    if plugin is not None:
        plugins.register(plugin)
    server = Server(load_config(None, flags), plugins)
    await server.start()
    try:
        await server.wait_serving()
        async with AsyncClient(server.address, retry=NO_RETRY) as client:
            yield Served(server, client)
    finally:
        await server.stop()


@pytest.fixture
def serving() -> Serve:
    """The context manager that serves one model."""
    return serve
