from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from bellhousing.testing import BackendSuite, Served
from bellhousing.testing.probe import Probe, probing
from bellhousing_ollama import OllamaBackend
from tests.backends.ollama.conftest import PROMPT, options


class TestOllama(BackendSuite):
    """What core relies on, with the real engine and model. Checks share an engine, but those that end it."""

    pytestmark: ClassVar[Any] = [
        pytest.mark.engine,
        pytest.mark.asyncio(loop_scope="session"),
        pytest.mark.timeout(300),
    ]
    backend = OllamaBackend
    prompt = PROMPT

    @pytest_asyncio.fixture(loop_scope="session", autouse=True)
    async def share(
        self, served: Served, probe: Probe, model_path: Path, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        self.served = served
        self.shared = None if "stop" in request.node.name else probe
        self.path = model_path
        self.own = options(tmp_path)

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[Probe]:
        if self.shared:
            yield self.shared
        else:
            async with probing(self.backend, self.own, self.path, self.prompt, self.seconds) as probe:
                yield probe

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        yield self.served
