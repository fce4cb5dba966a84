from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from bellhousing.testing import BackendSuite, Served
from bellhousing.testing.probe import Probe, probing
from bellhousing_vllm import VllmBackend
from tests.backends.vllm.conftest import ENGINES, OPTIONS, PROMPT


class TestVllm(BackendSuite):
    """What core relies on, with the real engine and model. Checks share an engine, but those that end it."""

    pytestmark: ClassVar[Any] = [
        pytest.mark.engine,
        pytest.mark.asyncio(loop_scope="session"),
        pytest.mark.timeout(300),
    ]
    backend = VllmBackend
    options: ClassVar[dict[str, Any]] = OPTIONS
    model = ENGINES / "smollm2"
    prompt = PROMPT

    @pytest_asyncio.fixture(loop_scope="session", autouse=True)
    async def share(self, served: Served, probe: Probe, request: pytest.FixtureRequest) -> None:
        self.served = served
        self.shared = None if "stop" in request.node.name else probe

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[Probe]:
        if self.shared:
            yield self.shared
        else:
            async with probing(self.backend, self.options, self.model, self.prompt, self.seconds) as probe:
                yield probe

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        yield self.served
