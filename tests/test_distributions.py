"""What is published works: the wheels of every distribution, in an environment that has nothing else."""

import os
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from bellhousing.client import Client
from bellhousing.process.ports import free_port
from tools.demo import descendants, end, parents, wait_serving

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
PARTS = [
    ROOT,
    *sorted(file.parent for folder in ("backends", "plugins") for file in ROOT.glob(f"{folder}/*/pyproject.toml")),
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command: str | Path) -> str:
    """Run a command from elsewhere than the checkout; return what it printed."""
    done = subprocess.run(command, cwd="/", env=OUTSIDE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("dist")
    for part in PARTS:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, part)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with only the wheels and what they declare."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", *wheels)
    return environment / "bin"


@pytest.fixture
def served(programs: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server from the wheels with the simulator, and its address."""
    address = f"127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    command = [str(programs / "bellhousing"), "serve", "--backend", "simulator", "--port", port]
    process = subprocess.Popen(command, cwd="/", env=OUTSIDE)
    try:
        with Client(address) as client:
            wait_serving(client, process)
        yield address, process
    finally:
        end(process)


def test_every_distribution_becomes_one_wheel(wheels: list[Path]) -> None:
    assert len(wheels) == len(PARTS)


def test_the_installed_environment_is_consistent(programs: Path) -> None:
    assert "No broken requirements found" in run(programs / "python", "-m", "pip", "check")


def test_a_wheel_carries_its_types(programs: Path) -> None:
    found = run(programs / "python", "-c", "import bellhousing; print(bellhousing.__path__[0])").strip()
    assert (Path(found) / "py.typed").is_file()
    assert (Path(found) / "v1" / "inference_pb2.pyi").is_file()
    assert not Path(found).is_relative_to(ROOT)


def test_the_installed_server_answers_the_installed_client_and_ends_well(
    programs: Path, served: tuple[str, "subprocess.Popen[bytes]"]
) -> None:
    address, process = served
    answer = run(programs / "bellhousing", "generate", "a", "--server", address, "--max-tokens", "8", "--seed", "1")
    assert answer.strip()
    started = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not started & parents().keys()
