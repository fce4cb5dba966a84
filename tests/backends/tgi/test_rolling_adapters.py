"""Adapters that come while TGI serves: a second launcher takes over from the first."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bellhousing.errors import EngineUnavailable, NotFound, PreconditionFailed, Unsupported
from bellhousing.testing import Served, serving
from bellhousing_tgi import TgiBackend, TgiOptions
from tests.backends.peft import halves, safetensors, write_adapter
from tests.backends.tgi.conftest import PROMPT
from tests.engines.launcher import standin

LAYERS, WIDTH = 2, 16
MODULE = "self_attn.q_proj"


@asynccontextmanager
async def rolling(tmp_path: Path, *, is_on: bool = True, **launcher: Any) -> AsyncIterator[tuple[Served, Path]]:
    """Serve a tiny model with the stand-in for the body; give its record too."""
    program, record = standin(tmp_path, **launcher)
    model_path = tmp_path / "model"
    model_path.mkdir()
    tensors = {f"model.layers.{layer}.{MODULE}.weight": (WIDTH, WIDTH) for layer in range(LAYERS)}
    (model_path / "model.safetensors").write_bytes(safetensors(tensors))
    static = write_adapter(tmp_path / "static", halves(LAYERS, WIDTH))
    model = {
        "name": "m",
        "model": str(model_path),
        "adapter_roots": [str(tmp_path / "adapters")],
        "restart": {"first_seconds": 0.05},
    }
    options: dict[str, Any] = {"launcher": str(program), "adapters": {"static": str(static)}}
    if is_on:
        options |= {"rolling_adapters": True, "cuda_memory_fraction": 0.4}
    async with serving(TgiBackend, options=options, model=model) as served:
        yield served, record


def adapter(tmp_path: Path, name: str, width: int = WIDTH) -> str:
    """Write an adapter and return its source."""
    return write_adapter(tmp_path / "adapters" / name, halves(LAYERS, width), seed=len(name)).as_uri()


def launches(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def held(launch: dict[str, Any]) -> set[str]:
    """Return the adapters that a launcher was started with."""
    arguments = launch["arguments"]
    told = arguments[arguments.index("--lora-adapters") + 1]
    return {pair.partition("=")[0] for pair in told.split(",")}


async def ended(launch: dict[str, Any]) -> None:
    """Return when a launcher and its shard are gone."""
    async with asyncio.timeout(30):
        while psutil.pid_exists(launch["pid"]) or psutil.pid_exists(launch["shard"]):
            await asyncio.sleep(0.02)


async def text(served: Served, name: str = "") -> str:
    return (await served.client.complete(PROMPT, max_tokens=6, temperature=0, adapter=name)).outputs[0].text


async def test_an_adapter_that_is_registered_is_served_by_another_launcher_and_the_first_one_ends(
    tmp_path: Path,
) -> None:
    async with rolling(tmp_path) as (served, record):
        base, static = await text(served), await text(served, "static")
        await served.client.register_adapter("poet", adapter(tmp_path, "poet"))
        assert len(launches(record)) == 1
        answer = await served.client.complete(PROMPT, max_tokens=6, temperature=0, adapter="poet")
        assert answer.finished.adapter_digest.startswith("sha256:")
        assert answer.outputs[0].text not in (base, static)
        first, second = launches(record)
        await ended(first)
        assert (held(first), held(second)) == ({"static"}, {"static", "poet"})
        assert (await text(served), await text(served, "static")) == (base, static)
        assert len(launches(record)) == 2
    await ended(second)


async def test_a_stream_that_runs_finishes_where_it_began(tmp_path: Path) -> None:
    async with rolling(tmp_path, hold=3) as (served, record):
        begun = asyncio.Event()

        async def stream() -> str:
            found = ""
            async for event in served.client.generate(PROMPT, max_tokens=6, temperature=0):
                found += getattr(event, "text", "")
                begun.set()
            return found

        running = asyncio.create_task(stream())
        async with asyncio.timeout(30):
            await begun.wait()
        await served.client.register_adapter("poet", adapter(tmp_path, "poet"))
        await served.client.load_adapter("poet")
        first, second = launches(record)
        assert not running.done()
        assert psutil.pid_exists(first["shard"])
        os.kill(first["pid"], signal.SIGUSR1)
        async with asyncio.timeout(30):
            assert len((await running).split()) > 3
        await ended(first)
        assert psutil.pid_exists(second["shard"])


async def test_there_are_never_more_than_two_launchers(tmp_path: Path) -> None:
    async with rolling(tmp_path, hold=3) as (served, record):
        begun = asyncio.Event()

        async def stream() -> None:
            async for _ in served.client.generate(PROMPT, max_tokens=6):
                begun.set()

        running = asyncio.create_task(stream())
        async with asyncio.timeout(30):
            await begun.wait()
        for name in ("poet", "judge"):
            await served.client.register_adapter(name, adapter(tmp_path, name))
        await served.client.load_adapter("poet")
        loading = asyncio.create_task(served.client.load_adapter("judge"))
        await asyncio.sleep(0.3)
        assert len(launches(record)) == 2
        os.kill(launches(record)[0]["pid"], signal.SIGUSR1)
        async with asyncio.timeout(30):
            await running
            await loading
        assert held(launches(record)[-1]) == {"static", "poet", "judge"}


async def test_an_adapter_that_is_unloaded_is_not_served_and_comes_back_without_a_launch(tmp_path: Path) -> None:
    async with rolling(tmp_path) as (served, record):
        for name in ("poet", "judge"):
            await served.client.register_adapter(name, adapter(tmp_path, name))
        before = await text(served, "poet")
        await served.client.unload_adapter("poet")
        backend = served.model.backend
        assert isinstance(backend, TgiBackend)
        assert "poet" not in backend._connected().adapters
        assert await text(served, "poet") == before
        assert len(launches(record)) == 2
        await served.client.unload_adapter("poet", forget=True)
        with pytest.raises(NotFound):
            await text(served, "poet")
        await text(served, "judge")
        assert held(launches(record)[-1]) == {"static", "judge"}


async def test_an_adapter_of_another_model_is_refused_before_anything_is_launched(tmp_path: Path) -> None:
    async with rolling(tmp_path) as (served, record):
        await served.client.register_adapter("wide", adapter(tmp_path, "wide", width=32))
        with pytest.raises(PreconditionFailed) as found:
            await text(served, "wide")
        assert found.value.reason == "ADAPTER_FORMAT"
        await served.client.register_adapter("a@b", adapter(tmp_path, "at"))
        with pytest.raises(PreconditionFailed, match="without ',', '=' and '@'"):
            await text(served, "a@b")
        assert len(launches(record)) == 1


async def test_a_launcher_that_does_not_start_with_an_adapter_leaves_the_one_that_serves(tmp_path: Path) -> None:
    async with rolling(tmp_path, fails_with="bad") as (served, record):
        base = await text(served)
        await served.client.register_adapter("bad", adapter(tmp_path, "bad"))
        with pytest.raises(EngineUnavailable, match="did not start"):
            await text(served, "bad")
        first, second = launches(record)
        await ended(second)
        assert await text(served) == base
        await served.client.register_adapter("poet", adapter(tmp_path, "poet"))
        assert await text(served, "poet") != base
        await ended(first)


async def test_the_death_of_the_second_launcher_is_seen_and_the_adapters_come_back(tmp_path: Path) -> None:
    async with rolling(tmp_path) as (served, record):
        await served.client.register_adapter("poet", adapter(tmp_path, "poet"))
        before = await text(served, "poet")
        os.kill(launches(record)[-1]["shard"], signal.SIGKILL)
        async with asyncio.timeout(60):
            while len(launches(record)) == 2 or not await served.client.is_serving():
                await asyncio.sleep(0.05)
        assert await text(served, "poet") == before
        assert held(launches(record)[2]) == {"static"}


async def test_a_server_that_ends_while_a_launcher_starts_leaves_neither(tmp_path: Path) -> None:
    async with rolling(tmp_path) as (served, record):
        await served.client.register_adapter("poet", adapter(tmp_path, "poet"))
        loading = asyncio.create_task(served.client.load_adapter("poet"))
        async with asyncio.timeout(30):
            while len(launches(record)) < 2:
                await asyncio.sleep(0.01)
        loading.cancel()
    for launch in launches(record):
        await ended(launch)


async def test_without_the_option_the_set_is_that_of_the_start(tmp_path: Path) -> None:
    async with rolling(tmp_path, is_on=False) as (served, _):
        with pytest.raises(Unsupported, match="only when it starts"):
            await served.client.register_adapter("poet", adapter(tmp_path, "poet"))


@pytest.mark.parametrize("fraction", [None, 0.9])
def test_two_launchers_must_fit_in_memory(fraction: float | None) -> None:
    with pytest.raises(ValueError, match=r"cuda_memory_fraction: expected at most 0\.5 beside rolling_adapters"):
        TgiOptions(rolling_adapters=True, cuda_memory_fraction=fraction)
