"""Engine processes that die, and those that will not."""

import asyncio
import os
import signal
import time

import psutil
import pytest

from bellhousing.errors import ConfigurationError, EngineFault, EngineUnavailable
from bellhousing.process import ProcessBackend, engine, proxy
from bellhousing.settings import ModelSpec
from tests.core.process.conftest import Start, under_both_loops
from tests.core.process.engines import EchoBackend, EchoOptions
from tests.core.process.observation import children, events, failure, is_running, settle, wait_until_gone


def echo(**options: object) -> ProcessBackend:
    return ProcessBackend(EchoBackend, ModelSpec(name="echo-1"), EchoOptions.model_validate(options))


def pid_of(backend: ProcessBackend) -> int:
    assert backend.pid is not None
    return backend.pid


async def grandchild_of(backend: ProcessBackend) -> int:
    pid = (await backend.load()).prefix_cache_hits
    assert pid is not None
    assert is_running(pid)
    return pid


@pytest.mark.quiet
@under_both_loops
async def test_killing_the_process_ends_every_stream_and_call_within_a_second(started: Start) -> None:
    backend = await started(with_grandchild=True)
    grandchild = await grandchild_of(backend)
    streams = [asyncio.create_task(failure(backend, "@forever")) for _ in range(8)]
    call = asyncio.create_task(backend.wake())
    await asyncio.sleep(0.1)
    os.kill(pid_of(backend), signal.SIGKILL)
    async with asyncio.timeout(1):
        errors = await asyncio.gather(*streams)
        with pytest.raises(EngineUnavailable):
            await call
        reason = await backend.died()
    assert {(type(error), error.reason, error.backend) for error in errors} == {
        (EngineUnavailable, "ENGINE_DIED", "echo")
    }
    assert "was killed by SIGKILL" in reason
    assert all(reason in error.message for error in errors)
    assert (await failure(backend, "too late")).reason == "ENGINE_DIED"
    assert backend.pid is None
    assert wait_until_gone(grandchild)


async def test_a_crash_tells_clients_how_the_process_ended_and_the_log_what_it_wrote(
    started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    error = await failure(await started(), "@exit 3")
    assert error.message == "the engine of model 'echo-1' died: its process exited with code 3"
    assert caplog.messages == ["the engine of model 'echo-1' wrote before it ended: the engine is loading | last words"]
    assert "was killed by SIGSEGV" in (await failure(await started(), "@segfault")).message


async def test_an_engine_that_dies_behind_a_living_process_is_reported_and_the_log_tells_what_it_wrote(
    started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    backend = await started()
    await events(backend, "@die of old age")
    assert await asyncio.wait_for(backend.died(), 20) == "of old age"
    assert caplog.messages == ["the engine of model 'echo-1' wrote before it ended: the engine is loading"]


@under_both_loops
async def test_a_crash_while_loading_tells_at_most_five_lines_and_leaves_no_process() -> None:
    backend = echo(on_start="exit", with_grandchild=True)
    with pytest.raises(EngineUnavailable) as raised:
        await backend.start(lambda _: None)
    assert raised.value.message.endswith(
        "exited with code 3; its last output: line 15 | line 16 | line 17 | line 18 | line 19"
    )
    assert children() == []


@pytest.mark.parametrize(("how", "kind"), [("refuse", ConfigurationError), ("defect", EngineFault)])
async def test_a_start_that_fails_raises_what_the_backend_raised_and_leaves_no_process(
    how: str, kind: type[Exception]
) -> None:
    backend = echo(on_start=how)
    with pytest.raises(kind) as raised:
        await backend.start(lambda _: None)
    if isinstance(raised.value, ConfigurationError):
        assert (raised.value.reason, raised.value.hint, raised.value.metadata) == (
            "NO_ECHO",
            "Speak up.",
            {"room": "small"},
        )
    await backend.stop()
    assert children() == []


@pytest.mark.parametrize("how", ["hang", "block", "hold_lock"])
async def test_a_start_that_is_cancelled_leaves_no_process_however_deep_it_is(how: str) -> None:
    loading = asyncio.Event()
    backend = echo(on_start=how, with_grandchild=how == "hold_lock")
    task = asyncio.create_task(backend.start(lambda _: loading.set()))
    if how == "hang":
        await loading.wait()
    else:
        await asyncio.sleep(1)  # progress cannot be sent any more
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < engine.STOP_SECONDS
    assert children() == []


@under_both_loops
async def test_a_start_that_is_cancelled_at_once_leaves_nothing() -> None:
    files = psutil.Process().num_fds()
    for turns in range(6):
        task = asyncio.create_task(echo().start(lambda _: None))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await settle()
    assert psutil.Process().num_fds() <= files + 4  # what the loop itself opens at its first process
    assert children() == []


@under_both_loops
async def test_stop_may_come_twice_at_once_or_before_start_and_is_not_reported_as_death(started: Start) -> None:
    backend = await started(with_grandchild=True)
    pids = pid_of(backend), await grandchild_of(backend)
    stream = asyncio.create_task(failure(backend, "@forever"))
    await asyncio.sleep(0.05)
    await asyncio.gather(backend.stop(), backend.stop())
    await backend.stop()
    assert wait_until_gone(*pids)
    assert (await stream).reason == "ENGINE_STOPPED"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(backend.died(), 0.05)
    await echo().stop()


@pytest.mark.parametrize("how", ["hang", "ignore_sigterm", "defect"])
async def test_an_engine_that_does_not_stop_is_ended(
    started: Start, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(proxy, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(engine, "TERM_SECONDS", 0.2)
    backend = await started(on_stop=how)
    pid = pid_of(backend)
    await backend.stop()
    assert not is_running(pid)
    assert "did not stop" in caplog.text


@under_both_loops
async def test_a_stop_that_is_cancelled_still_ends_the_process(started: Start) -> None:
    backend = await started(on_stop="hang", with_grandchild=True)
    pids = pid_of(backend), await grandchild_of(backend)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(backend.stop(), 0.1)
    assert wait_until_gone(*pids)


async def test_ctrl_c_in_the_terminal_does_not_reach_the_engine(started: Start) -> None:
    backend = await started()
    assert os.getsid(pid_of(backend)) == pid_of(backend)
    os.kill(pid_of(backend), signal.SIGINT)
    assert len(await events(backend, "still here")) == 4
