from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from bellhousing.sources import resolve
from bellhousing.testing import BackendSuite
from bellhousing.testing.probe import Probe, probing
from bellhousing_llamacpp import LlamaCppBackend
from tests.backends.llamacpp.conftest import SOURCE, Running


class InlineLlamaCpp(LlamaCppBackend):
    """The backend without a process of its own."""

    isolation = "inline"


class TestLlamaCpp(BackendSuite):
    """What core relies on, with the real model. Checks share an engine, but those that end it."""

    pytestmark: ClassVar[Any] = pytest.mark.asyncio(loop_scope="session")
    backend = LlamaCppBackend
    options: ClassVar[dict[str, Any]] = {"context_per_sequence": 256}
    model = resolve(SOURCE, lambda _: None)
    prompt = "one two three four five six seven"

    @pytest_asyncio.fixture(loop_scope="session", autouse=True)
    async def share(self, engine: Running, request: pytest.FixtureRequest) -> None:
        self.shared = None if "stop" in request.node.name else engine

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[Probe]:
        if self.shared:
            yield Probe(self.shared.backend, self.shared.info, self.prompt, self.seconds)
        else:
            async with probing(InlineLlamaCpp, self.options, self.model, self.prompt, self.seconds) as probe:
                yield probe
