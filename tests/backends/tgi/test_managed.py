"""TGI as a backend that starts it: with a stand-in for the launcher, which needs no GPU and no TGI."""

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

from bellhousing.errors import BellhousingError, ConfigurationError, EngineUnavailable
from bellhousing.process.ports import free_port
from bellhousing.requests import GenerationRequest
from bellhousing.settings import Batching, EngineSettings, Parallelism
from bellhousing.testing import Served, serving
from bellhousing_tgi import TgiBackend, TgiOptions
from bellhousing_tgi.api import Api
from bellhousing_tgi.launcher import SETTABLE, command_line, environment
from tests.backends.tgi.conftest import PROMPT
from tests.engines.launcher import standin

PLAIN = TgiOptions()


def directory(path: Path, weights: str = "model.safetensors") -> Path:
    path.mkdir()
    (path / weights).write_bytes(b"weights of " + path.name.encode())
    return path


@asynccontextmanager
async def managed(tmp_path: Path, *, hold: int | None = None, **options: Any) -> AsyncIterator[tuple[Served, Path]]:
    """Serve a model with the stand-in for the body; give its record too."""
    program, record = standin(tmp_path, hold=hold)
    model = {"name": "m", "model": str(directory(tmp_path / "model")), "restart": {"first_seconds": 0.05}}
    async with serving(TgiBackend, options={"launcher": str(program), **options}, model=model) as served:
        yield served, record


def told(record: Path) -> dict[str, Any]:
    """Return what the latest launch was given."""
    return dict(json.loads(record.read_text().splitlines()[-1]))


def argument(record: Path, flag: str) -> str:
    arguments = told(record)["arguments"]
    return str(arguments[arguments.index(flag) + 1])


def line(settings: EngineSettings | None = None, options: TgiOptions = PLAIN) -> list[str]:
    wanted = settings or EngineSettings()
    return command_line(Path("/m"), wanted, options, port=4000, master_port=4001, sockets=Path("/run/shard"))


def test_the_launcher_is_handed_exactly_this_by_default() -> None:
    assert line() == [
        "text-generation-launcher",
        *("--model-id", "/m"),
        *("--hostname", "127.0.0.1"),
        *("--port", "4000"),
        *("--num-shard", "1"),
        *("--master-port", "4001"),
        *("--shard-uds-path", "/run/shard"),
        *("--usage-stats", "off"),
        *("--max-concurrent-requests", "128"),
    ]


def test_every_setting_becomes_its_flag() -> None:
    settings = EngineSettings(
        batching=Batching(max_sequences=8, max_batched_tokens=2048, max_total_tokens=9000),
        parallelism=Parallelism(tensor=4),
    )
    options = TgiOptions(
        max_input_tokens=100,
        max_total_tokens=200,
        max_concurrent_requests=16,
        dtype="bfloat16",
        kv_cache_dtype="fp8_e5m2",
        cuda_memory_fraction=0.5,
        cuda_graphs=(1, 2),
        adapters={"a": Path("/a"), "b": Path("/b")},
    )
    found = line(settings, options)
    pairs = dict(zip(found[1::2], found[2::2], strict=True))
    assert (
        pairs.items()
        >= {
            "--num-shard": "4",
            "--max-batch-size": "8",
            "--max-batch-prefill-tokens": "2048",
            "--max-batch-total-tokens": "9000",
            "--max-input-tokens": "100",
            "--max-total-tokens": "200",
            "--max-concurrent-requests": "16",
            "--dtype": "bfloat16",
            "--kv-cache-dtype": "fp8_e5m2",
            "--cuda-memory-fraction": "0.5",
            "--cuda-graphs": "1,2",
            "--lora-adapters": "a=/a,b=/b",
        }.items()
    )
    assert line(options=TgiOptions(quantize="fp8", cuda_graphs=()))[-4:] == ["--quantize", "fp8", "--cuda-graphs", "0"]


def test_no_variable_is_a_setting_that_nobody_sees() -> None:
    inherited = dict.fromkeys(SETTABLE, "x") | {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "ATTENTION": "paged"}
    found = environment(TgiOptions(prefix_cache=False), "secret", inherited)
    assert found == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "ATTENTION": "paged",
        "PREFIX_CACHING": "0",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "API_KEY": "secret",
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dtype": "float16", "quantize": "awq"}, "dtype: expected unset"),
        ({"max_input_tokens": 10, "max_total_tokens": 10}, "max_input_tokens: expected less"),
        ({"adapters": {"a,b": "/a"}}, "adapters: expected names"),
        ({"quantize": "magic"}, "quantize"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TgiOptions.model_validate(options)


async def test_a_model_is_served_through_a_launcher_with_a_key_that_is_in_no_argument(tmp_path: Path) -> None:
    async with managed(tmp_path) as (served, record):
        answer = await served.client.complete(PROMPT, max_tokens=6, temperature=0)
        assert answer.finished.usage.completion_tokens == 6
        key = told(record)["environment"]["API_KEY"]
        assert len(key) > 30
        assert key not in " ".join(told(record)["arguments"])
        assert argument(record, "--model-id") == str(tmp_path / "model")
        assert served.model.info.model_digest.startswith("sha256:")


async def test_adapters_come_with_the_launcher_and_have_digests(tmp_path: Path) -> None:
    adapter = directory(tmp_path / "poet", "adapter_model.safetensors")
    async with managed(tmp_path, adapters={"poet": str(adapter)}) as (served, record):
        assert argument(record, "--lora-adapters") == f"poet={adapter}"
        answer = await served.client.complete(PROMPT, max_tokens=6, adapter="poet")
        assert answer.finished.adapter_digest.startswith("sha256:")


async def test_what_tgi_takes_and_ignores_is_told_as_not_effective(tmp_path: Path) -> None:
    program, _ = standin(tmp_path)
    batching = {"max_sequences": 4, "max_batched_tokens": 512, "max_total_tokens": 4096}
    model = {"model": str(directory(tmp_path / "model")), "batching": batching}
    async with serving(TgiBackend, options={"launcher": str(program)}, model=model) as served:
        info = served.model.info
    assert info.effective.batching == Batching(max_sequences=4, max_batched_tokens=512, max_total_tokens=None)
    assert "ignores it" in info.reasons["batching.max_total_tokens"]
    assert info.max_running == 4


async def test_a_shard_that_is_killed_ends_streams_with_unavailable_and_the_launcher_is_started_again(
    tmp_path: Path,
) -> None:
    async with managed(tmp_path, hold=3) as (served, record):
        started = asyncio.Event()

        async def stream() -> None:
            async for _ in served.client.generate(PROMPT, max_tokens=6):
                started.set()

        running = asyncio.create_task(stream())
        async with asyncio.timeout(30):
            await started.wait()
            first = told(record)["shard"]
            os.kill(first, signal.SIGKILL)
            with pytest.raises(EngineUnavailable):
                await running
            while not await served.client.is_serving() or told(record)["shard"] == first:
                await asyncio.sleep(0.05)
        assert (await served.client.complete(PROMPT, max_tokens=2)).finished.usage.completion_tokens == 2


async def test_nothing_is_left_of_a_launcher_that_was_stopped(tmp_path: Path) -> None:
    async with managed(tmp_path) as (_, record):
        shard = psutil.Process(told(record)["shard"])
        sockets = Path(argument(record, "--shard-uds-path")).parent
        assert sockets.is_dir()
    assert not shard.is_running()
    assert not sockets.exists()


async def test_a_launcher_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    program, _ = standin(tmp_path, fails=True)
    model = {"model": str(directory(tmp_path / "model"))}
    with pytest.raises(EngineUnavailable, match="ShardCannotStart"):
        async with serving(TgiBackend, options={"launcher": str(program)}, model=model):
            pass


async def test_a_launcher_that_is_not_there_is_named(tmp_path: Path) -> None:
    model = {"model": str(directory(tmp_path / "model"))}
    with pytest.raises(EngineUnavailable, match="text-generation-launcher-4"):
        async with serving(TgiBackend, options={"launcher": "text-generation-launcher-4"}, model=model):
            pass


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        ({"parallelism": {"pipeline": 2, "data": 2}}, {}, r"parallelism\.pipeline, parallelism\.data: expected 1"),
        ({"model": "pickled"}, {}, "expected a directory with weights in"),
        ({}, {"adapters": {"poet": "pickled"}}, "adapter 'poet'"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_anything_is_started(
    tmp_path: Path, model: dict[str, Any], options: dict[str, Any], named: str
) -> None:
    program, record = standin(tmp_path)
    paths = {"good": str(directory(tmp_path / "good")), "pickled": str(directory(tmp_path / "pickled", "model.bin"))}
    given = {**model, "model": paths[model.get("model", "good")]}
    adapters = {name: paths[path] for name, path in options.get("adapters", {}).items()}
    with pytest.raises(ConfigurationError, match=named):
        async with serving(TgiBackend, options={"launcher": str(program), "adapters": adapters}, model=given):
            pass
    assert not record.exists()


async def test_a_request_that_the_router_fails_is_no_death(tmp_path: Path) -> None:
    async with managed(tmp_path) as (served, _):
        with pytest.raises(BellhousingError):
            await served.client.complete(PROMPT, max_tokens=2, regex="([")
        assert await served.client.is_serving()


async def listens(port: int) -> bool:
    """Tell whether new connections are taken; one that is kept alive would be answered all the same."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_streams_that_run_finish_when_the_launcher_is_asked_to_end(tmp_path: Path) -> None:
    program, _ = standin(tmp_path, hold=3)
    key, port = "secret", free_port()
    arguments = ["--port", str(port), "--max-concurrent-requests", "4"]
    launcher = await asyncio.create_subprocess_exec(program, *arguments, env={**os.environ, "API_KEY": key})
    api = Api(f"http://127.0.0.1:{port}", key, "tgi")
    request = GenerationRequest("x", PROMPT)
    try:
        async with asyncio.timeout(30):
            while not await api.is_well():
                await asyncio.sleep(0.05)
            body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 6, "details": True}}
            async with api.generating(body, request) as events:
                first = await anext(aiter(events))
                launcher.terminate()
                while await listens(port):
                    await asyncio.sleep(0.02)
                os.kill(launcher.pid, signal.SIGUSR1)
                rest = [event async for event in events]
            assert (first["index"], rest[-1]["details"]["finish_reason"]) == (1, "length")
            assert await launcher.wait() == 0
    finally:
        await api.close()
        if launcher.returncode is None:
            launcher.kill()
