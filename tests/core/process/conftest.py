import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

import pytest
import uvloop

from bellhousing.process import ProcessBackend
from bellhousing.settings import ModelSpec
from tests.core.process.engines import EchoBackend, EchoOptions

Start = Callable[..., Awaitable[ProcessBackend]]
Test = TypeVar("Test", bound=Callable[..., object])


def under_both_loops(test: Test) -> Test:
    """Run the test under asyncio's event loop and uvloop's; the others run under asyncio's."""
    test.__dict__["under_both_loops"] = True
    return test


@pytest.hookimpl(optionalhook=True)  # older versions of the plugin know asyncio's loop only
def pytest_asyncio_loop_factories(item: pytest.Function) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loops of a test."""
    if hasattr(item.obj, "under_both_loops"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def started() -> AsyncIterator[Start]:
    """Starts engines, and stops them after the test."""
    backends = []

    async def start(**options: object) -> ProcessBackend:
        backend = ProcessBackend(EchoBackend, ModelSpec(name="echo-1"), EchoOptions.model_validate(options))
        backends.append(backend)
        await backend.start(lambda _: None)
        return backend

    yield start
    for backend in backends:
        await backend.stop()
