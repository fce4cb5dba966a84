"""The directory where a supervised Ollama keeps models: one for each server, since a starting server tidies it up."""

import fcntl
import itertools
import os
import shutil
from pathlib import Path

import platformdirs

from bellhousing.errors import ConfigurationError
from bellhousing_ollama.errors import NAME

LOCK = "bellhousing.lock"
COPIES = 3
"""Of a file while Ollama imports it: as it came, as `llama-quantize` wrote it, and that once more as a blob."""


class Store:
    """A directory that this process alone uses until `close`, or until it ends."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, wanted: Path | None, model: str) -> "Store":
        """Return the wanted store; without a wish the first free one of the model in the user's cache.

        Raises `ConfigurationError` when another server uses the wanted one, or it cannot be written.
        """
        if wanted is not None:
            found = _locked(wanted.expanduser().absolute())
            if found is None:
                raise ConfigurationError(
                    f"options.store: expected a directory of its own, found {str(wanted)!r} in use by another server",
                    reason="STORE_IN_USE",
                    backend=NAME,
                )
            return found
        parent = platformdirs.user_cache_path("bellhousing") / "ollama" / model
        return next(found for number in itertools.count(1) if (found := _locked(parent / str(number))))

    def check_room(self, file: Path) -> None:
        """Raise `ConfigurationError` unless a file can be imported into what is free and what blobs have already.

        When a disk fills, Ollama may break the connection, or tell of something else.
        """
        size = COPIES * file.stat().st_size
        there = sum(file.stat().st_size for file in (self.path / "blobs").glob("sha256-*"))
        free = shutil.disk_usage(self.path).free
        if free + there < size:
            raise ConfigurationError(
                f"options.store {str(self.path)!r}: expected {size >> 20} MiB free for the model, found {free >> 20}",
                reason="DISK_FULL",
                backend=NAME,
                hint="options.store may name a directory on a larger disk.",
            )

    def forget_partials(self) -> None:
        """Delete what a pull that was broken off has left. Call it while no Ollama uses the store."""
        for file in (self.path / "blobs").glob("*-partial*"):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others use the store."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _locked(path: Path) -> Store | None:
    """Return the store at a path; None while another process has it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"options.store: expected a directory that can be written, found {str(path)!r}: {error.strerror}",
            reason="STORE_UNUSABLE",
            backend=NAME,
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return Store(path, lock)
