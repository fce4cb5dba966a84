"""Where a model comes from: a path, `hf://org/name[@revision][/file]`, or `pkg://distribution/path`.

Only safetensors and GGUF weights are taken: formats that can run code when they are read are refused, and nothing of a
repository or package is ever imported.
"""

import difflib
import fnmatch
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import platformdirs

from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress

UNSAFE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5"})
HUB_PATTERNS = ("*.safetensors", "*.gguf", "*.json", "*.jinja", "*.model", "tokenizer.model.v*", "*.tiktoken", "*.txt")
SCHEMES = ("hf", "pkg", "file")
CHUNK_BYTES = 1 << 22
Report = Callable[[Progress], None]


def resolve(source: str, progress: Report) -> Path:
    """Return the file or directory of a source on this machine, fetching it if need be.

    Raises `ConfigurationError` naming what was not found and what is near, or a format that is not safe.
    """
    scheme, separator, rest = source.partition("://")
    if not separator:
        return _local(source)
    if scheme == "hf":
        return _from_hub(rest, progress)
    if scheme == "pkg":
        return _from_package(rest)
    if scheme == "file":
        return _local(rest)
    raise ConfigurationError(
        f"model source {source!r}: expected a path, hf://, pkg:// or file://, found scheme {scheme!r}"
        + _near(scheme, SCHEMES),
        reason="BAD_SOURCE",
    )


def _local(text: str) -> Path:
    """Return an absolute path. Links stay, because what they point to may be named by its digest."""
    _refuse_unsafe(text)
    path = Path(text)
    try:
        path = path.expanduser().absolute()
        if text.strip() and path.exists():
            _refuse_unsafe(str(path.resolve()))
            return path
    except (OSError, RuntimeError) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"model {text!r}: expected a readable path, found: {found}", reason="NO_MODEL"
        ) from error
    where = _near(path.name, _names_in(path.parent)) or f"; directory {str(path.parent)!r} has nothing like it"
    raise ConfigurationError(f"model {text!r}: expected a file or directory, found none{where}", reason="NO_MODEL")


def _names_in(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except OSError:
        return []


def _near(name: str, known: Iterable[str]) -> str:
    """Return the known names that are near, as the end of a sentence; empty when none is."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"; near it: {', '.join(near)}" if near else ""


def _refuse_unsafe(name: str) -> None:
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in UNSAFE_SUFFIXES:
        raise ConfigurationError(
            f"model {name!r}: expected safetensors or GGUF only, found {suffix}, which can run code when it is read",
            reason="UNSAFE_FORMAT",
        )


def _from_package(rest: str) -> Path:
    """Return a file that an installed distribution ships, without importing it."""
    source = f"pkg://{rest}"
    name, _, inner = rest.partition("/")
    wanted = PurePosixPath(inner)
    if not name or not inner or wanted.is_absolute() or ".." in wanted.parts:
        raise ConfigurationError(
            f"model source {source!r}: expected pkg://distribution/path with a path inside it, found path {inner!r}",
            reason="BAD_SOURCE",
        )
    _refuse_unsafe(inner)
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        known = {found.name for found in metadata.distributions() if found.metadata["Name"]}
        raise ConfigurationError(
            f"model source {source!r}: no distribution {name!r} is installed{_near(name, known)}",
            reason="NO_MODEL",
            hint=f"If it is a package, install it with `pip install {name}`.",
        ) from error
    path = Path(str(distribution.locate_file(str(wanted))))
    files = {str(file) for file in distribution.files or ()}
    if str(wanted) not in files or not path.is_file():
        raise ConfigurationError(
            f"model source {source!r}: distribution {name!r} has no file {inner!r}{_near(str(wanted), files)}",
            reason="NO_MODEL",
        )
    return path.absolute()


def _from_hub(rest: str, progress: Report) -> Path:
    """Return a snapshot of a repository, or one file of it."""
    source = f"hf://{rest}"
    parts = rest.split("/")
    name, at, revision = parts[1].partition("@") if len(parts) > 1 else ("", "", "")
    if not all(parts) or not name or bool(at) != bool(revision) or ".." in parts:
        raise ConfigurationError(
            f"model source {source!r}: expected hf://org/name[@revision][/file]", reason="BAD_SOURCE"
        )
    file = "/".join(parts[2:])
    _refuse_unsafe(file)
    if file and not any(fnmatch.fnmatch(file, pattern) for pattern in HUB_PATTERNS):
        raise ConfigurationError(
            f"model source {source!r}: expected one of {', '.join(HUB_PATTERNS)}, found {file!r}", reason="BAD_SOURCE"
        )
    # A revision such as refs/pr/1 is written refs%2Fpr%2F1, as in the hub's own addresses.
    patterns = [file] if file else list(HUB_PATTERNS)
    folder = _snapshot(f"{parts[0]}/{name}", unquote(revision), patterns, progress, source)
    wanted = [file] if file else ["*.safetensors", "*.gguf"]
    if not any(found for pattern in wanted for found in folder.rglob(pattern)):
        raise ConfigurationError(
            f"model source {source!r}: expected {' or '.join(wanted)} in the repository, found none", reason="NO_MODEL"
        )
    return folder / file


def _snapshot(repository: str, revision: str, patterns: list[str], progress: Report, source: str) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigurationError(
            f"model source {source!r} needs the package huggingface_hub, found none",
            hint="Install it with `pip install 'bellhousing[hf]'`.",
        ) from error
    progress(Progress("fetching"))
    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=patterns, tqdm_class=_reporting_bar(progress)
        )
    except Exception as error:  # the client's errors and its transport's have no common root
        raise ConfigurationError(
            f"model source {source!r} cannot be fetched: {type(error).__name__}: {' '.join(str(error).split())}",
            reason="FETCH_FAILED",
        ) from error
    return Path(folder)


def _reporting_bar(progress: Report) -> type:
    """Return a progress bar class for the hub's client that reports to us instead of the terminal."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg, unused-ignore, misc]
        counts_bytes = False

        def __init__(self, *arguments: Any, **named: Any) -> None:
            # Closing a bar ends its line, wherever it is drawn; a disabled one would not count.
            super().__init__(*arguments, **{**named, "file": io.StringIO(), "disable": False})

        def display(self, *_arguments: Any, **_named: Any) -> None:
            """Report; older clients count files alone, later ones count bytes beside them."""
            is_bytes = self.unit == "B"
            Bar.counts_bytes |= is_bytes
            if is_bytes or not Bar.counts_bytes:
                progress(Progress("fetching", int(self.n), int(self.total or 0), "bytes" if is_bytes else "files"))

    return Bar


def sha256_of(path: Path, progress: Report) -> str:
    """Return the digest of a file, `sha256:...`; a file that did not change since is not read again.

    Raises `OSError` when it cannot be read.
    """
    key = _identity(path)
    cache = platformdirs.user_cache_path("bellhousing") / "digests.json"
    known = _read_cache(cache).get(key)
    if known:
        return known
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            progress(Progress("hashing", file.tell(), size, "bytes"))
    found = f"sha256:{digest.hexdigest()}"
    if _identity(path) == key:  # otherwise it was written to meanwhile
        _write_cache(cache, {**_read_cache(cache), key: found})
    return found


def sha256_of_files(files: Sequence[Path], progress: Report) -> str:
    """Return one digest for files in order: the file's own, or of several the digest of their digests.

    Raises `OSError` when one cannot be read.
    """
    digests = [sha256_of(file, progress) for file in files]
    if len(digests) == 1:
        return digests[0]
    return f"sha256:{hashlib.sha256(' '.join(digests).encode()).hexdigest()}"


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"


def _read_cache(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _write_cache(path: Path, digests: dict[str, str]) -> None:
    """Write the cache; a machine whose cache cannot be written only hashes again."""
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(digests))
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
