"""Adapters of one model: registered by name, resident on the device while they are needed.

Registering is cheap and loads nothing. A request leases its adapter, so that it is never evicted under it; when the
device is full the least recently used adapter without a lease goes.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from bellhousing.backend import AdapterFiles, Backend
from bellhousing.errors import AlreadyExists, BellhousingError, NotFound, Overloaded, PreconditionFailed
from bellhousing.hookspecs import AdapterChange

AdapterState = Literal["registered", "fetching", "host", "device", "failed"]
SAFE_SUFFIXES = (".safetensors", ".gguf")
STATIC_SOURCE = "engine"
"""Where an adapter comes from that the engine was started with; no URI, so none can be registered from there."""
CHUNK = 1 << 20
SETTLED_SECONDS = 2.0


@dataclass(eq=False, slots=True)
class AdapterEntry:
    """A registered adapter. `leases` counts the requests that use it now; `last_used` is in Unix seconds.

    A static one came with the engine: it is on the device for as long as that runs, and nobody loads or unloads it.
    """

    name: str
    source: str
    tenant: str = ""
    pinned: bool = False
    is_static: bool = False
    path: Path = Path()
    digest: str = ""
    stamp: tuple[int, ...] = ()
    size_bytes: int = 0
    state: AdapterState = "host"
    state_detail: str = ""
    last_used: float = 0.0
    load_count: int = 0
    leases: int = 0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


Watcher = Callable[[str, AdapterChange, float], None]
"""Is told an adapter's name, what happened to it, and the seconds that it took."""


class Adapters:
    """The adapters of one model. `roots` are the directories they may come from, `slots` bounds those on the device."""

    def __init__(self, roots: Sequence[Path], slots: int, watcher: Watcher = lambda *_: None) -> None:
        self._watcher = watcher
        self._roots = tuple(root.resolve() for root in roots)
        self._slots = slots
        self._entries: dict[str, AdapterEntry] = {}

    def register(self, entry: AdapterEntry, expected_digest: str = "") -> AdapterEntry:
        """Make an adapter known and return its entry; the same name and source again is fine.

        Raises `PreconditionFailed` for a source that is not allowed, holds no safetensors or GGUF, or has another
        digest, and `AlreadyExists` when the name belongs to another source.
        """
        known = self._entries.get(entry.name)
        if known and known.source != entry.source:
            raise AlreadyExists(f"adapter {entry.name!r} is registered from {known.source}, found {entry.source}")
        if known:
            return known
        entry.path = self._allowed(entry.source)
        weights = _weights(entry.path)
        entry.size_bytes = weights.stat().st_size
        entry.stamp = _stamp(weights)
        entry.digest = _digest(weights)
        if expected_digest and expected_digest != entry.digest:
            raise PreconditionFailed(
                f"adapter {entry.name!r}: expected digest {expected_digest}, found {entry.digest}",
                reason="DIGEST_MISMATCH",
            )
        return self._entries.setdefault(entry.name, entry)

    def find(self, name: str, tenant: str | None = None) -> AdapterEntry:
        """Return an entry. With a tenant, another tenant's adapter is as unknown as one that does not exist.

        Raises `NotFound` with the near names.
        """
        entry = self._entries.get(name)
        if entry is None or not _is_visible(entry, tenant):
            raise NotFound("adapter", name, [n for n, e in self._entries.items() if _is_visible(e, tenant)])
        return entry

    def after(self, name: str) -> Iterator[AdapterEntry]:
        """Yield the entries whose names come after `name`, sorted."""
        return (self._entries[key] for key in sorted(self._entries) if key > name)

    def resident(self) -> list[str]:
        """Return the names of the adapters on the device, sorted."""
        return sorted(entry.name for entry in self._entries.values() if entry.state == "device")

    def engine_started(self, static: Mapping[str, str]) -> None:
        """Note that the engine was started anew: on the device are only the adapters it came with, name to digest."""
        self._entries = {name: entry for name, entry in self._entries.items() if not entry.is_static}
        for entry in self._entries.values():
            if entry.state == "device":
                entry.state = "host"
        for name, digest in static.items():
            self._entries[name] = AdapterEntry(
                name, STATIC_SOURCE, pinned=True, is_static=True, digest=digest, state="device", load_count=1
            )

    @asynccontextmanager
    async def lease(self, name: str, tenant: str, backend: Backend) -> AsyncIterator[str]:
        """Hold an adapter on the device for the body, loading it when needed; give its digest, empty for no adapter."""
        if not name:
            yield ""
            return
        entry = self.find(name, tenant)
        entry.leases += 1
        try:
            await self.load(name, backend)
            entry.last_used = time.time()
            yield entry.digest
        finally:
            entry.leases -= 1

    async def load(self, name: str, backend: Backend) -> AdapterEntry:
        """Bring an adapter onto the device; one load at a time for each. Raises what the backend raises."""
        entry = self.find(name)
        async with entry.changing:
            if entry.state == "device":
                return entry
            await self._make_room(entry, backend)
            began = time.monotonic()
            try:
                if await _has_changed(entry):
                    raise PreconditionFailed(f"adapter {name!r} has changed on disk since it was registered")
                await backend.load_adapter(AdapterFiles(entry.name, str(entry.path), entry.digest))
            except BellhousingError as error:
                entry.state, entry.state_detail = "failed", error.message
                self._watcher(name, "load_failed", time.monotonic() - began)
                raise
            entry.state, entry.state_detail = "device", ""
            entry.load_count += 1
            self._watcher(name, "loaded", time.monotonic() - began)
        return entry

    async def unload(self, name: str, backend: Backend, *, forget: bool = False) -> None:
        """Take an adapter off the device. Raises `PreconditionFailed` while a request uses it."""
        await self._unload(self.find(name), backend, "unloaded")
        if forget:
            self._entries.pop(name, None)

    async def _unload(self, entry: AdapterEntry, backend: Backend, change: AdapterChange) -> None:
        name = entry.name
        if entry.is_static:
            raise PreconditionFailed(f"adapter {name!r} came with the engine and stays as long as the engine runs")
        if entry.leases:
            raise PreconditionFailed(f"adapter {name!r} is in use by {entry.leases} requests, expected none")
        async with entry.changing:
            if entry.state == "device":
                began = time.monotonic()
                await backend.unload_adapter(name)
                entry.state = "host"
                self._watcher(name, change, time.monotonic() - began)

    async def _make_room(self, entry: AdapterEntry, backend: Backend) -> None:
        resident = [e for e in self._entries.values() if e.state == "device" and e is not entry]
        if len(resident) < self._slots:
            return
        idle = [e for e in resident if not e.leases and not e.pinned]
        if not idle:
            raise Overloaded(
                f"all {self._slots} adapters on the device are pinned or in use",
                reason="ADAPTER_SLOTS_FULL",
                retry_after=1.0,
            )
        await self._unload(min(idle, key=lambda e: e.last_used), backend, "evicted")

    def _allowed(self, source: str) -> Path:
        parts = urlsplit(source)
        if parts.scheme != "file" or parts.netloc:
            raise PreconditionFailed(f"adapter source {source!r}: expected file:///path, found scheme {parts.scheme!r}")
        path = Path(unquote(parts.path)).resolve()
        if not any(path.is_relative_to(root) for root in self._roots):
            roots = ", ".join(str(root) for root in self._roots) or "none; set models.adapter_roots"
            raise PreconditionFailed(f"adapter source {source!r} is outside the allowed directories: {roots}")
        if not path.exists():
            raise PreconditionFailed(f"adapter source {source!r}: expected a file or directory, found nothing")
        return path


def _is_visible(entry: AdapterEntry, tenant: str | None) -> bool:
    return tenant is None or not entry.tenant or entry.tenant == tenant


def _weights(path: Path) -> Path:
    """Return the file that holds the weights."""
    if path.is_file() and path.suffix in SAFE_SUFFIXES:
        return path
    found = sorted(f for suffix in SAFE_SUFFIXES for f in path.glob(f"*{suffix}")) if path.is_dir() else []
    if len(found) != 1:
        raise PreconditionFailed(
            f"adapter {str(path)!r}: expected one file of {' or '.join(SAFE_SUFFIXES)}, found {len(found)}",
            reason="ADAPTER_FORMAT",
        )
    return found[0]


async def _has_changed(entry: AdapterEntry) -> bool:
    """Tell whether the weights differ from those registered; a file that nobody touched is not read again."""
    weights = _weights(entry.path)
    stamp = _stamp(weights)
    if stamp and stamp == entry.stamp:
        return False
    # In a thread: an adapter may have hundreds of MB, and streams go on meanwhile.
    if await asyncio.to_thread(_digest, weights) != entry.digest:
        return True
    entry.stamp = stamp
    return False


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes with every write to a file or its replacement; no user can set the time of change back.

    Nothing for a file changed just now: clocks of file systems are coarse, and another write could have the same time.
    """
    found = path.stat()
    is_settled = time.time() - found.st_ctime > SETTLED_SECONDS
    return (found.st_ino, found.st_size, found.st_ctime_ns) if is_settled else ()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
