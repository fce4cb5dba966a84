"""`bellhousing doctor`: what is installed, what each engine needs, what is wrong and how to mend it."""

import dataclasses
import platform
import socket
from collections.abc import Iterator
from importlib import metadata, util

import platformdirs
import typer

from bellhousing import plugins as plugin_group
from bellhousing import registry
from bellhousing.cli.output import FAILED, Json, print_json, print_table
from bellhousing.config import ServerConfig
from bellhousing.errors import BellhousingError
from bellhousing.hookspecs import DoctorFinding
from bellhousing.plugins import Plugins

OWN_DISTRIBUTIONS = ("bellhousing", "grpcio", "grpcio-health-checking", "grpcio-reflection", "protobuf", "pydantic")
MARKS = {"ok": "ok", "warning": "warning", "wrong": "WRONG"}
OPTIONAL = {
    "uvloop": ("uvloop", "not installed: streams cost more processor time", "pip install uvloop"),
    "huggingface_hub": ("huggingface_hub", "not installed: no hf:// sources", "pip install 'bellhousing[hf]'"),
}


def add(app: typer.Typer, plugins: Plugins) -> None:
    """Add the command."""

    @app.command()
    def doctor(as_lines: Json = False) -> None:
        """Look at the installation, and tell what is wrong and how to mend it. The exit code is 1 then.

        Example: `bellhousing doctor`
        """
        findings = [*_own_findings(), *_backend_findings(), *_plugin_findings(plugins)]
        if as_lines:
            print_json([dataclasses.asdict(finding) for finding in findings])
        else:
            rows = [(MARKS[f.verdict], f.subject, f.found, f.mend) for f in findings]
            print_table(("", "subject", "found", "how to mend it"), rows)
        if any(finding.verdict == "wrong" for finding in findings):
            raise typer.Exit(FAILED)


def _own_findings() -> Iterator[DoctorFinding]:
    yield DoctorFinding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in OWN_DISTRIBUTIONS:
        yield _version(name)
    for name, (module, found, mend) in OPTIONAL.items():
        yield _version(name) if util.find_spec(module) else DoctorFinding(name, "warning", found, mend)
    yield _port_finding()
    yield _cache_finding()


def _version(distribution: str) -> DoctorFinding:
    try:
        return DoctorFinding(distribution, "ok", metadata.version(distribution))
    except metadata.PackageNotFoundError:
        mend = f"pip install {distribution}"
        return DoctorFinding(distribution, "warning", "imported from a folder, not installed", mend)


def _port_finding() -> DoctorFinding:
    server = ServerConfig()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            found = f"{server.host}:{server.port}: {error.strerror}"
            return DoctorFinding("port", "warning", found, "choose another with `bellhousing serve --port`")
    return DoctorFinding("port", "ok", f"{server.host}:{server.port} is free")


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
        yield DoctorFinding("backends", "wrong", "none installed", "pip install bellhousing-NAME")
    for backend in backends:
        try:
            registry.load(backend.name)
        except BellhousingError as error:
            yield DoctorFinding(f"backend {backend.name}", "wrong", error.message, _reinstall(backend.distribution))
        else:
            yield DoctorFinding(f"backend {backend.name}", "ok", f"{backend.distribution} {backend.version}")


def _plugin_findings(plugins: Plugins) -> Iterator[DoctorFinding]:
    """Yield whether each plugin can be imported, and what the plugins themselves report."""
    for point in sorted(metadata.entry_points(group=plugin_group.GROUP), key=lambda point: point.name):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - an import may raise anything, and that is the finding
            found = f"cannot be imported: {type(error).__name__}: {error}"
            yield DoctorFinding(f"plugin {point.name}", "wrong", found, _reinstall(distribution.partition(" ")[0]))
        else:
            yield DoctorFinding(f"plugin {point.name}", "ok", distribution)
    try:
        yield from plugins.doctor()
    except Exception as error:  # noqa: BLE001 - one plugin's defect must not hide the other findings
        found = f"a report failed: {type(error).__name__}: {error}"
        yield DoctorFinding("plugins", "wrong", found, "report it to the plugin's author")


def _reinstall(distribution: str) -> str:
    return f"pip install --force-reinstall {distribution}"
