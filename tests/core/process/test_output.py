import logging

import pytest

from tests.core.process.conftest import Start
from tests.core.process.observation import events, failure


async def test_what_the_engine_prints_is_logged_for_debugging_only(
    started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "bellhousing.engine")
    await events(await started(), "hello")
    records = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    assert ("bellhousing.engine.echo-1", logging.DEBUG, "the engine is loading") in records


async def test_an_engine_that_prints_without_end_is_not_held_up_and_costs_no_memory(
    started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await started()
    for _ in range(3):
        await events(backend, "@spew 20000")
    lines = backend._engine._lines if backend._engine else []
    assert 0 < len(lines) <= 200
    assert max(map(len, lines)) <= 4096
    await failure(backend, "@exit 1")
    (told,) = caplog.messages
    assert told.endswith("| last words")
    assert len(told) < 1500
