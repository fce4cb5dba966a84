import asyncio
import logging
from contextlib import aclosing

import pytest

from bellhousing.errors import ConfigurationError, ContextOverflow, EngineFault, EngineUnavailable
from bellhousing.process import ProcessBackend, frames
from bellhousing.settings import ModelSpec
from tests.core.process.conftest import Start
from tests.core.process.engines import EchoBackend, EchoOptions, SecretBackend, SecretOptions
from tests.core.process.observation import children, events, failure, request

SPEC = ModelSpec(name="echo-1")


async def test_cancelling_a_call_cancels_it_in_the_backend(started: Start) -> None:
    backend = await started()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(backend.wake(), 0.05)
    assert (await backend.load()).waiting == 0


async def test_a_failed_generation_raises_what_the_backend_raised_and_others_go_on(
    started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await started()
    async with aclosing(backend.generate(request("@forever"))) as other:
        overflow = await failure(backend, "@overflow")
        fault = await failure(backend, "@fault")
        assert isinstance(overflow, ContextOverflow)
        assert (overflow.prompt_tokens, overflow.context_length) == (9, 8)
        assert (fault.message, fault.engine_code, fault.retry_after) == ("broken", "E7", 1.5)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [await anext(other) for _ in range(20)]


async def test_a_defect_of_the_backend_fails_its_request_and_is_logged(
    started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await started()
    error = await failure(backend, "@defect because")
    assert isinstance(error, EngineFault)
    assert (error.reason, error.message) == (
        "BACKEND_DEFECT",
        "backend 'echo' failed with ZeroDivisionError: because",
    )
    assert "in raise_defect" in caplog.text
    assert "@defect" not in caplog.text


async def test_whatever_a_backend_does_wrong_only_its_request_fails(started: Start) -> None:
    backend = await started()
    for order in ("wrong", "textless", "strange", "surrogate", "cancelled"):
        assert (await failure(backend, f"@{order}")).reason == "BACKEND_DEFECT", order
    with pytest.raises(EngineFault, match="wrong value: Expected `bytes`, got `str`"):
        await backend.detokenize([])
    assert len(await events(backend, "still alive")) == 4
    assert (await backend.load()).waiting == 0


async def test_a_request_that_does_not_fit_the_interface_fails_alone(started: Start) -> None:
    backend = await started()
    assert (await failure(backend, 5)).reason == "BACKEND_DEFECT"  # type: ignore[arg-type]
    assert len(await events(backend, "still alive")) == 4


async def test_options_that_json_changes_are_refused_before_a_process_starts() -> None:
    backend = ProcessBackend(SecretBackend, SPEC, SecretOptions.model_validate({"token": "hush"}))
    with pytest.raises(ConfigurationError, match="JSON") as raised:
        await backend.start(lambda _: None)
    assert "hush" not in str(raised.value)
    assert children() == []


async def test_a_process_of_another_wire_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "WIRE_VERSION", 99)
    backend = ProcessBackend(EchoBackend, SPEC, EchoOptions())
    with pytest.raises(ConfigurationError, match="wire version 1, expected 99"):
        await backend.start(lambda _: None)
    assert children() == []


async def test_nothing_can_be_asked_before_start_and_after_stop(started: Start) -> None:
    backend, stopped = ProcessBackend(EchoBackend, SPEC, EchoOptions()), await started()
    await stopped.stop()
    for idle in (backend, stopped):
        with pytest.raises(EngineUnavailable, match="not running"):
            await idle.load()
        assert (await failure(idle, "hello")).reason == "ENGINE_STOPPED"
