"""A scripted router, and ours attached to it behind a real server."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from bellhousing.events import Event
from bellhousing.requests import GenerationRequest
from bellhousing.testing import Served, serving
from bellhousing.testing.suite import FORMS
from bellhousing_tgi import AttachedTgiBackend
from bellhousing_tgi.api import Api
from bellhousing_tgi.completion import Completion
from bellhousing_tgi.grammar import grammar
from tests.engines.recordings import Recording
from tests.engines.replay import replaying
from tests.engines.server import HttpServer
from tests.engines.tgi import ScriptedTgi

LIVE_URL = os.environ.get("BELLHOUSING_TGI_URL", "")
PROMPT = "one two three"
STREAM = "/generate_stream"
ADAPTERS = ("lora-a", "lora-b")


_left_out: list[pytest.Item] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a real router where there is none: not run, and so not passed."""
    _left_out[:] = [item for item in items if item.get_closest_marker("tgi_live") and not LIVE_URL]
    if _left_out:
        items[:] = [item for item in items if item not in _left_out]
        config.hook.pytest_deselected(items=_left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and why."""
    if _left_out:
        terminalreporter.write_line(
            f"tgi_live: {len(_left_out)} tests left out, since BELLHOUSING_TGI_URL names no router"
        )


@dataclass(frozen=True, slots=True)
class Attached:
    """A scripted router, its server, and ours in front of it."""

    router: ScriptedTgi
    http: HttpServer
    served: Served


def scripted() -> ScriptedTgi:
    """Return a router with adapters, and the texts that the suite's forms allow."""
    router = ScriptedTgi(adapters=ADAPTERS)
    texts = {"choice": "red", "regex": "123", "json_schema": '"blue"'}
    for kind, (form, _) in FORMS.items():
        if kind in texts:
            router.forms[json.dumps(grammar(form), sort_keys=True)] = texts[kind]
    return router


@asynccontextmanager
async def attached_to(router: ScriptedTgi, **options: Any) -> AsyncIterator[Attached]:
    """Serve the router's model for the body."""
    async with (
        router.listening() as (http, _),
        serving(AttachedTgiBackend, options={"url": http.url, "adapters": ADAPTERS, **options}) as served,
    ):
        yield Attached(router, http, served)


@pytest_asyncio.fixture
async def attached() -> AsyncIterator[Attached]:
    async with attached_to(scripted()) as running:
        yield running


async def answers_of(one: Recording, request: GenerationRequest, room: int = 1000) -> list[Event]:
    """Return our events of a recorded generation, read from a real socket by the real client code."""
    async with replaying(one) as (server, _):
        api = Api(server.url, "", "tgi-attached")
        try:
            completion = Completion(request, 5, room, "tgi-attached")
            events: list[Event] = []
            async with api.generating(one.body, request) as found:
                async for event in found:
                    events += completion.events(event)
            return [*events, completion.finished()]
        finally:
            await api.close()
