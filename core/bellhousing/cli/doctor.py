"""`bellhousing doctor`: what is installed, what each engine needs, what is wrong and how to mend it."""

import dataclasses
import platform
from collections.abc import Iterator
from importlib import metadata, util

import platformdirs
import typer

from bellhousing import registry
from bellhousing.cli.output import Json, print_json, print_table
from bellhousing.errors import BellhousingError
from bellhousing.hookspecs import DoctorFinding
from bellhousing.plugins import Plugins

MARKS = {"ok": "ok", "warning": "warning", "wrong": "WRONG"}


def add(app: typer.Typer, plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    def doctor(as_lines: Json = False) -> None:
        """Look at the installation. The exit code is 1 when something is wrong."""
        findings = [*_own_findings(), *_backend_findings(), *plugins.doctor()]
        if as_lines:
            print_json([dataclasses.asdict(finding) for finding in findings])
        else:
            rows = [(MARKS[f.verdict], f.subject, f.found, f.mend) for f in findings]
            print_table("", ("", "subject", "found", "how to mend it"), rows)
        if any(finding.verdict == "wrong" for finding in findings):
            raise typer.Exit(1)


def _own_findings() -> Iterator[DoctorFinding]:
    yield DoctorFinding("python", "ok", platform.python_version())
    for name in ("bellhousing", "grpcio", "protobuf", "pydantic"):
        yield DoctorFinding(name, "ok", metadata.version(name))
    if util.find_spec("uvloop"):
        yield DoctorFinding("uvloop", "ok", metadata.version("uvloop"))
    else:
        yield DoctorFinding("uvloop", "warning", "not installed: streams cost more", "pip install uvloop")
    if util.find_spec("huggingface_hub"):
        yield DoctorFinding("huggingface_hub", "ok", metadata.version("huggingface_hub"))
    else:
        yield DoctorFinding(
            "huggingface_hub", "warning", "not installed: no hf:// sources", "pip install 'bellhousing[hf]'"
        )
    yield _cache_finding()


def _cache_finding() -> DoctorFinding:
    path = platformdirs.user_cache_path("bellhousing")
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        mend = "set XDG_CACHE_HOME to a directory that can be written"
        return DoctorFinding("cache", "warning", f"{path}: {error.strerror}", mend)
    return DoctorFinding("cache", "ok", str(path))


def _backend_findings() -> Iterator[DoctorFinding]:
    backends = registry.installed()
    if not backends:
        yield DoctorFinding("backends", "wrong", "none installed", "pip install bellhousing-llamacpp")
    for backend in backends:
        try:
            registry.load(backend.name)
        except BellhousingError as error:
            yield DoctorFinding(f"backend {backend.name}", "wrong", error.message, f"reinstall {backend.distribution}")
        else:
            yield DoctorFinding(f"backend {backend.name}", "ok", f"{backend.distribution} {backend.version}")
