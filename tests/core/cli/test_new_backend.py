"""From nothing to a served backend in one command."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.cli.conftest import Ran, Run, environment, serving

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def written(run: Run, tmp_path: Path) -> Path:
    ran = run("new-backend", "my-engine")
    assert ran.code == 0, ran.err
    assert "pip install -e" in ran.err
    return tmp_path / "bellhousing-my-engine"


def python(*arguments: str, cwd: Path, **env: str) -> Ran:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=240
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def installed(project: Path, target: Path) -> dict[str, str]:
    """Install the distribution into a folder of its own; return the environment that finds it."""
    install = python(
        "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(project),
        cwd=target.parent,
    )  # fmt: skip
    assert install.code == 0, install.err
    return {"PYTHONPATH": str(target)}


def test_the_skeleton_passes_its_own_tests_and_our_rules_and_serves(written: Path, tmp_path: Path, run: Run) -> None:
    env = installed(written, tmp_path / "site")
    tests = python("-m", "pytest", "-q", cwd=written, **env)
    assert tests.code == 0, tests.out
    assert "passed" in tests.out
    for tool in (("ruff", "check", "."), ("mypy", "--strict", "bellhousing_my_engine")):
        checked = python("-m", *tool, cwd=written)
        assert checked.code == 0, checked.out + checked.err
    with serving("--backend", "my-engine", "--port", "0", cwd=tmp_path, env=env) as served:
        address = served.wait_for(r"serving '\S+' at (\S+):")[1]
        assert run("generate", "say this", "-s", address).out.strip() == "say this"
        assert served.end() == 0


@pytest.mark.parametrize("name", ["My-Engine", "1st", "a--b", "../x", "simulator", "", "a_b"])
def test_a_name_that_cannot_be_one_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    ran = run("new-backend", name)
    assert ran.code == 2
    assert repr(name) in ran.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(run: Run, written: Path) -> None:
    ran = run("new-backend", "my-engine")
    assert ran.code == 2
    assert "exists already" in ran.err
