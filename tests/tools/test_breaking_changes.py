import shutil
import subprocess
from pathlib import Path

import pytest

from tools.protoc import PROTOS, ROOT

BUF = ROOT / ".tools/buf/node_modules/.bin/buf"

pytestmark = pytest.mark.toolchains


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the protos and of buf's settings."""
    shutil.copytree(PROTOS, tmp_path / "protos")
    shutil.copyfile(ROOT / "buf.yaml", tmp_path / "buf.yaml")
    return tmp_path


def change(copy: Path, old: str, new: str) -> None:
    file = copy / "protos/bellhousing/v1/inference.proto"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def buf(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUF, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def breaking(folder: Path) -> subprocess.CompletedProcess[str]:
    return buf(folder, "breaking", "--against", "protos/baseline.binpb")


def test_the_contract_is_compatible_with_its_baseline(copy: Path) -> None:
    assert breaking(copy).stdout == ""


def test_a_new_field_is_compatible(copy: Path) -> None:
    change(copy, "  bool best_effort = 13;", "  bool best_effort = 13;\n  // New.\n  bool another = 32;")
    assert breaking(copy).stdout == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("double top_p = 4", "double top_p = 40"),
        ("optional uint32 top_k = 5", "optional double top_k = 5"),
        ("  bool best_effort = 13;", ""),
        ("FINISH_REASON_EOS = 1", "FINISH_REASON_END = 1"),
    ],
)
def test_a_breaking_change_is_refused(copy: Path, old: str, new: str) -> None:
    change(copy, old, new)
    done = breaking(copy)
    assert done.returncode != 0
    assert "inference.proto" in done.stdout


def test_a_field_without_a_comment_is_refused(copy: Path) -> None:
    change(copy, "  // How tokens are drawn and how many.\n", "")
    done = buf(copy, "lint")
    assert done.returncode != 0
    assert "sampling" in done.stdout
