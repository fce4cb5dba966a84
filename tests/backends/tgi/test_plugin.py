from pathlib import Path

import pytest

from bellhousing.hookspecs import DoctorFinding
from bellhousing.plugins import Plugins
from bellhousing_tgi import plugin


def finding(monkeypatch: pytest.MonkeyPatch, path: Path) -> DoctorFinding:
    """Return what the doctor says where PATH is this directory."""
    monkeypatch.setenv("PATH", str(path))
    (found,) = plugin.bellhousing_doctor()
    return found


def test_the_doctor_tells_where_the_launcher_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launcher = tmp_path / "text-generation-launcher"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    found = finding(monkeypatch, tmp_path)
    assert (found.verdict, found.found) == ("ok", str(launcher))


def test_the_doctor_warns_without_a_launcher_and_says_what_does_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = finding(monkeypatch, tmp_path)
    assert (found.verdict, found.found) == ("warning", "no command `text-generation-launcher` in PATH")
    assert "tgi-attached" in found.mend


def test_launches_of_tgi_are_offered_to_migrate() -> None:
    assert "tgi" in {origin.name for origin in Plugins.installed().migrations()}
