"""Clients in other languages, with nothing of ours but the protos, against a real server."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bellhousing.testing import serving
from tools.protoc import compiler_python

ROOT = Path(__file__).parent.parent.parent
PROMPT = "the end of"
GREEDY = {"end_probability": 0.0}


async def run(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a client beside the server."""
    return await asyncio.to_thread(
        subprocess.run, command, cwd=cwd, capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False
    )


async def expected() -> str:
    async with serving("simulator", options=GREEDY) as served:
        return (await served.client.complete(PROMPT, max_tokens=16, temperature=0)).outputs[0].text


@pytest.mark.toolchains
@pytest.mark.timeout(600)
async def test_a_node_client_works_with_only_the_protos(tmp_path: Path) -> None:
    project = tmp_path / "examples" / "node"
    shutil.copytree(ROOT / "examples" / "node", project, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    installed = await run("npm", "install", "--no-audit", "--no-fund", cwd=project)
    assert installed.returncode == 0, installed.stderr
    async with serving("simulator", options=GREEDY) as served:
        done = await run("node", "main.js", "--prompt", PROMPT, "--address", served.address, cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(await expected())
    assert "ended by FINISH_REASON_MAX_TOKENS" in done.stdout
    failed = await run("node", "main.js", "--address", "127.0.0.1:1", cwd=project)
    assert failed.returncode == 1
    assert "UNAVAILABLE" in failed.stderr


@pytest.mark.toolchains
@pytest.mark.timeout(600)
async def test_a_go_client_works_with_only_the_protos(tmp_path: Path) -> None:
    project = tmp_path / "examples" / "go"
    shutil.copytree(ROOT / "examples" / "go", project, ignore=shutil.ignore_patterns("gen", "bin"))
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    built = await run("make", "build", f"PYTHON={compiler_python()}", cwd=project)
    assert built.returncode == 0, built.stderr
    async with serving("simulator", options=GREEDY) as served:
        done = await run("./bellhousing-example", "--prompt", PROMPT, "--address", served.address, cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(await expected())
    assert "ended by FINISH_REASON_MAX_TOKENS" in done.stdout
    failed = await run("./bellhousing-example", "--address", "127.0.0.1:1", cwd=project)
    assert failed.returncode == 1
    assert "Unavailable" in failed.stderr


async def test_the_python_examples_run() -> None:
    examples = ROOT / "examples" / "python"
    async with serving("simulator", options=GREEDY) as served:
        for script in ("stream.py", "chat.py", "structured.py"):
            done = await run(sys.executable, script, "yes or no?", served.address, cwd=examples)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()


async def multi_lora(*arguments: str) -> list[str]:
    """Run the example with many adapters, and return the lines that it printed."""
    done = await run(sys.executable, "multi_lora.py", "--adapters", "6", *arguments, cwd=ROOT / "examples/multi-lora")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_multi_lora(lines: list[str]) -> None:
    said = {line.split()[0]: line.split(", asked")[0].partition(" ")[2].strip() for line in lines[1:-2]}
    assert len(said) > 2
    assert len(set(said.values())) == len(said), "adapters that say the same"
    found = re.fullmatch(r"24 requests for (\d) of 6 adapters in .* s; (\d+) loads", lines[-2])
    assert found, lines[-2]
    assert int(found[1]) <= int(found[2]) < 24
    assert lines[-1] == "on the device: 2 of 2"


async def test_the_example_with_many_adapters_runs_on_the_simulator() -> None:
    check_multi_lora(await multi_lora("--slots", "2", "--requests", "24"))


@pytest.mark.engine
@pytest.mark.timeout(300)
async def test_the_example_with_many_adapters_runs_on_vllm() -> None:
    model = str(ROOT / ".engines" / "smollm2")
    check_multi_lora(await multi_lora("--slots", "2", "--requests", "24", "--backend", "vllm", "--model", model))
