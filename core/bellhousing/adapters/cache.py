"""Fetched adapters on this machine's disk, by digest and within a budget of bytes.

An entry is a directory whose name is the digest of its files. It appears whole, by a rename, or not at all, and is
locked by whoever uses it, so that several servers can share one cache.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bellhousing.errors import ConfigurationError, Overloaded, PreconditionFailed

STAGING, ENTRIES = "staging", "entries"
RETRY_SECONDS = 5.0
ORPHAN_SECONDS = 60.0
"""A directory younger than this may be one that its process has not locked yet."""


class Held:
    """An entry that is in use: it is not removed until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    def release(self) -> None:
        """Let the entry be removed when room is needed. Safe to call twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


class AdapterCache:
    """The cache in `directory`, of at most `most_bytes`. Its methods block and may be called from any thread.

    They raise `ConfigurationError`, BAD_CACHE_DIRECTORY, when the directory cannot be used.
    """

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self._entries = directory / ENTRIES
        self._staging = directory / STAGING
        self._most_bytes = most_bytes

    def prepare(self) -> None:
        """Make the cache's directories where there are none."""
        with self._directory_errors():
            for folder in (self._staging, self._entries):
                folder.mkdir(parents=True, exist_ok=True)
                if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def check_size(self, wanted: int) -> None:
        """Raise `PreconditionFailed`, ADAPTER_TOO_BIG, for more bytes than the whole cache may hold."""
        if wanted > self._most_bytes:
            raise PreconditionFailed(
                f"an adapter of {wanted} bytes: the adapter cache may hold {self._most_bytes} (adapters.cache_bytes)",
                reason="ADAPTER_TOO_BIG",
            )

    def has(self, digest: str, config_digest: str) -> bool:
        """Tell whether there is an entry with these digests."""
        return bool(digest) and (self._entries / key(digest, config_digest)).is_dir()

    def find(self, digest: str, config_digest: str) -> Held | None:
        """Return the entry with these digests, held; None when it is not here."""
        if not digest:
            return None
        with self._directory_errors():
            return _hold(self._entries / key(digest, config_digest))

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a new directory to fetch into; whatever is left in it afterwards is removed.

        What processes that were killed had left is removed first.
        """
        self.prepare()
        self._remove_orphans()
        folder = self._staging / secrets.token_hex(8)
        with self._directory_errors():
            folder.mkdir()
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def keep(self, folder: Path, digest: str, config_digest: str) -> Held:
        """Make a fetched directory an entry and return it, held.

        Raises `Overloaded`, DISK_BUDGET_EXCEEDED, and what `check_size` raises.
        """
        target = self._entries / key(digest, config_digest)
        self.prepare()
        with self._changing():
            if (found := _hold(target)) is not None:
                return found
            self._make_room(size_of(folder))
            inside = folder / "adapter"
            inside.rename(target)
            held = _hold(target)
        if held is None:
            raise RuntimeError(f"{target} was made and is not there")
        return held

    def discard(self, digest: str, config_digest: str) -> None:
        """Remove an entry whose files are not what its name says, unless somebody uses it."""
        entry = self._entries / key(digest, config_digest)
        if entry.exists():
            _remove_unused(entry)

    def used_bytes(self) -> int:
        """Return the size of all entries."""
        return sum(size_of(entry) for entry in self._all())

    def _all(self) -> list[Path]:
        return sorted(self._entries.iterdir()) if self._entries.is_dir() else []

    def _make_room(self, wanted: int) -> None:
        """Remove the entries that nobody uses, the longest unused first, until `wanted` bytes fit."""
        self.check_size(wanted)
        sizes = {entry: size_of(entry) for entry in self._all()}
        excess = sum(sizes.values()) + wanted - self._most_bytes
        for entry in sorted(sizes, key=lambda path: path.stat().st_mtime):
            if excess <= 0:
                return
            if _remove_unused(entry):
                excess -= sizes[entry]
        if excess > 0:
            raise Overloaded(
                f"the adapter cache may hold {self._most_bytes} bytes (adapters.cache_bytes): {wanted} more would be"
                f" {excess} too many, and all the rest is in use",
                reason="DISK_BUDGET_EXCEEDED",
                retry_after=RETRY_SECONDS,
            )

    @contextmanager
    def _directory_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"adapters.cache_directory {str(self._directory)!r}: expected a directory that can be written to,"
                f" found: {error.strerror}",
                reason="BAD_CACHE_DIRECTORY",
            ) from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one process at a time add and remove entries."""
        lock = os.open(self._entries, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _remove_orphans(self) -> None:
        for folder in self._staging.iterdir():
            with suppress(FileNotFoundError):  # another process removes it
                if time.time() - folder.stat().st_mtime > ORPHAN_SECONDS:
                    _remove_unused(folder)


def key(digest: str, config_digest: str) -> str:
    """Return the name of the entry for weights and a configuration with these digests."""
    return hashlib.sha256(f"{digest} {config_digest}".encode()).hexdigest()


def size_of(folder: Path) -> int:
    """Return the bytes of the files of a directory; 0 for one that is gone."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            total += file.lstat().st_size if file.is_file() else 0
    return total


def _hold(entry: Path) -> Held | None:
    try:
        lock = os.open(entry, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_SH)
    if not entry.exists():  # it was removed while we waited for the lock
        os.close(lock)
        return None
    os.utime(entry)
    return Held(entry, lock)


def _remove_unused(entry: Path) -> bool:
    """Remove a directory unless it is in use; return whether it is gone."""
    try:
        lock = os.open(entry, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Out of sight first: a half-removed directory must never look like an entry.
        hidden = entry.parent.parent / STAGING / f"removed-{secrets.token_hex(8)}"
        hidden.parent.mkdir(exist_ok=True)
        entry.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
