"""Deaths of the runner, of Ollama and of the server, and what becomes of the store: each with an engine of its own."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bellhousing.backend import AdapterFiles
from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.process.ports import free_port
from bellhousing.settings import ModelSpec
from bellhousing.testing.probe import Probe, build, probing
from bellhousing_ollama import OllamaBackend, OllamaOptions, serve
from tests.backends.ollama.conftest import PROMPT, options
from tests.backends.ollama.processes import are_gone, is_alive, runner_pids
from tests.backends.ollama.test_adapters import LAYERS, WIDTH
from tests.backends.peft import halves, write_adapter

pytestmark = [pytest.mark.engine, pytest.mark.asyncio, pytest.mark.timeout(300)]

OWNER = """
import asyncio, json, pathlib, sys
from bellhousing.settings import ModelSpec
from bellhousing_ollama import OllamaBackend, OllamaOptions

async def main():
    model, options = pathlib.Path(sys.argv[1]), OllamaOptions.model_validate_json(sys.argv[2])
    backend = OllamaBackend(ModelSpec(name="owned", path=model), options)
    await backend.start(lambda _: None)
    print(backend._serve.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def running(model: Path, store: Path, **more: Any) -> AsyncIterator[tuple[Probe, int]]:
    """Run an engine of one's own; give it with the id of `ollama serve`."""
    async with probing(OllamaBackend, options(store, **more), model, PROMPT, 60.0) as probe:
        backend: Any = probe.backend
        yield probe, backend._serve.pid


async def test_a_runner_that_is_killed_ends_its_streams_and_another_takes_over(
    model_path: Path, tmp_path: Path
) -> None:
    async with running(model_path, tmp_path) as (probe, serve):
        running_one = asyncio.ensure_future(probe.run(probe.request(max_tokens=900)))
        await asyncio.sleep(1.0)
        assert not running_one.done()
        for pid in runner_pids(serve):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(running_one, 30)
        assert (await probe.run(probe.request(max_tokens=2))).deltas


async def test_ollama_that_is_killed_is_told_and_takes_its_runners_along(model_path: Path, tmp_path: Path) -> None:
    async with running(model_path, tmp_path) as (probe, serve):
        pids = runner_pids(serve)
        assert pids
        stream = asyncio.ensure_future(probe.run(probe.request(max_tokens=900)))
        await asyncio.sleep(1.0)
        os.kill(serve, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(stream, 30)
        reason = await asyncio.wait_for(probe.backend.died(), 30)
        assert reason == "its process was killed by SIGKILL"
        assert await are_gone(pids)


async def test_nothing_outlives_a_server_that_is_killed(model_path: Path, tmp_path: Path) -> None:
    chosen = OllamaOptions.model_validate(options(tmp_path)).model_dump_json()
    command = [sys.executable, "-c", OWNER, str(model_path), chosen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:  # noqa: ASYNC220 - nothing else runs
        assert owner.stdout
        serve = int(await asyncio.to_thread(owner.stdout.readline))
        pids = [serve, *runner_pids(serve)]
        assert len(pids) > 1
        assert all(map(is_alive, pids))
        owner.kill()
    assert await are_gone(pids)


async def test_stop_leaves_no_process(model_path: Path, tmp_path: Path) -> None:
    async with running(model_path, tmp_path) as (_, serve):
        pids = [serve, *runner_pids(serve)]
    assert await are_gone(pids)


async def test_a_cancelled_start_leaves_no_process_and_the_store_is_free(model_path: Path, tmp_path: Path) -> None:
    backend: Any = build(OllamaBackend, options(tmp_path), model_path)
    starting = asyncio.ensure_future(backend.start(lambda _: None))
    while not (backend._serve and backend._serve.pid):
        await asyncio.sleep(0.02)
    serve = backend._serve.pid
    starting.cancel()
    await asyncio.wait({starting})
    await backend.stop()
    assert await are_gone([serve])
    async with running(model_path, tmp_path) as (probe, _):
        assert (await probe.run(probe.request(max_tokens=1))).deltas


async def test_two_servers_never_share_a_store(model_path: Path, tmp_path: Path) -> None:
    async with running(model_path, tmp_path):
        other = build(OllamaBackend, options(tmp_path), model_path)
        with pytest.raises(ConfigurationError, match="in use by another server") as caught:
            await other.start(lambda _: None)
        await other.stop()
    assert caught.value.reason == "STORE_IN_USE"


async def test_a_file_is_imported_once(model_path: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    for _ in range(2):
        backend = OllamaBackend(ModelSpec(name="m", path=model_path), OllamaOptions.model_validate(options(tmp_path)))
        await backend.start(lambda step: steps.append(step.stage))
        await backend.stop()
    assert steps.count("importing") == 1


async def test_a_disk_without_room_for_the_model_is_told_and_nothing_is_begun(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = await asyncio.to_thread(os.path.getsize, model_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * size - 1))
    backend = build(OllamaBackend, options(tmp_path), model_path)
    try:
        with pytest.raises(ConfigurationError, match=f"expected {3 * size >> 20} MiB free for the model") as caught:
            await backend.start(lambda _: None)
    finally:
        await backend.stop()
    assert caught.value.reason == "DISK_FULL"
    assert not list((tmp_path / "blobs").glob("sha256-*"))


async def test_a_port_that_another_program_takes_first_is_given_up_for_another(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, taken, free_port()])
        monkeypatch.setattr(serve, "free_port", lambda: next(ports))
        async with running(model_path, tmp_path) as (probe, _):
            assert (await probe.run(probe.request(max_tokens=1))).deltas
    assert next(ports, None) is None


async def test_ports_that_are_always_taken_end_the_start(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(serve, "free_port", lambda: taken)
        backend = build(OllamaBackend, options(tmp_path), model_path)
        with pytest.raises(EngineUnavailable, match="address already in use") as caught:
            await backend.start(lambda _: None)
        await backend.stop()
    assert caught.value.reason == "ENGINE_START_FAILED"


async def test_an_adapter_whose_runner_is_killed_comes_back_and_the_base_still_answers(
    model_path: Path, tmp_path: Path
) -> None:
    # Of zeros, so that the text is the base's: a stream of random text Ollama may end by itself.
    path = write_adapter(tmp_path / "adapter", halves(LAYERS, WIDTH))
    adapter = AdapterFiles("tuned", str(path), "sha256:" + "1" * 64)
    async with running(model_path, tmp_path / "store", adapters=1) as (probe, ollama):
        base = set(runner_pids(ollama))
        await probe.backend.load_adapter(adapter)
        (runner,) = set(runner_pids(ollama)) - base
        wanted = replace(probe.request(max_tokens=900), adapter="tuned")
        stream = asyncio.ensure_future(probe.run(wanted))
        await asyncio.sleep(1.0)
        assert not stream.done()
        os.kill(runner, signal.SIGKILL)
        with pytest.raises(EngineUnavailable) as caught:
            await asyncio.wait_for(stream, 30)
        assert caught.value.backend == "ollama"
        assert (await probe.run(probe.request(max_tokens=2))).deltas
        assert (await probe.run(replace(probe.request(max_tokens=2), adapter="tuned"))).deltas
