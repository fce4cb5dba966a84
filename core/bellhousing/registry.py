"""Backends by name: entry points of the group `bellhousing.backends`, loaded when asked for."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from bellhousing.backend import Backend
from bellhousing.errors import ConfigurationError, NotFound

GROUP = "bellhousing.backends"


@dataclass(frozen=True, slots=True)
class InstalledBackend:
    """An installed backend that need not be importable: its name, distribution and version."""

    name: str
    distribution: str
    version: str


def installed() -> list[InstalledBackend]:
    """Return the installed backends, sorted by name, without importing any."""
    return [
        InstalledBackend(point.name, point.dist.name if point.dist else "", point.dist.version if point.dist else "")
        for _, point in sorted(_points().items())
    ]


def version_of(name: str) -> str:
    """Return the version of the distribution that a backend comes from; empty when it is not known."""
    return next((backend.version for backend in installed() if backend.name == name), "")


def load(name: str) -> type[Backend]:
    """Import and return the class of a backend.

    Raises `NotFound` with the installed names, or `ConfigurationError` when it cannot be imported or is no backend.
    """
    points = _points()
    if name not in points:
        raise NotFound(
            "backend", name, points, hint="Install its distribution, such as `pip install bellhousing-NAME`."
        )
    try:
        backend = points[name].load()
    except Exception as error:
        raise ConfigurationError(
            f"backend {name!r} is installed but cannot be imported: {type(error).__name__}: {error}",
            reason="BACKEND_BROKEN",
            hint="`bellhousing doctor` tells what it needs.",
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise ConfigurationError(f"backend {name!r}: expected a subclass of Backend, found {backend!r}")
    return backend


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
