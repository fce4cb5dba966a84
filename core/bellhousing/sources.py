"""Where a model comes from: a path, `hf://org/name[@revision][/file]`, or `pkg://distribution/path`.

Only safetensors and GGUF weights are taken: formats that can run code when they are read are refused.
"""

import difflib
import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path, PurePosixPath

import platformdirs

from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress

UNSAFE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5"})
HUB_PATTERNS = ["*.safetensors", "*.gguf", "*.json", "*.jinja", "*.model", "tokenizer*", "*.txt"]
CHUNK = 1 << 22
Report = Callable[[Progress], None]


def resolve(source: str, progress: Report) -> Path:
    """Return the file or directory of a source on this machine, fetching it if need be.

    Raises `ConfigurationError` naming what was not found and what is near, or a format that is not safe.
    """
    scheme, separator, rest = source.partition("://")
    if not separator:
        return _safe(_local(Path(source).expanduser()))
    if scheme == "hf":
        return _safe(_from_hub(rest, progress))
    if scheme == "pkg":
        return _safe(_from_package(rest))
    if scheme == "file":
        return _safe(_local(Path(rest)))
    raise ConfigurationError(
        f"model source {source!r}: expected a path, hf://, pkg:// or file://",
        reason="BAD_SOURCE",
    )


def _local(path: Path) -> Path:
    if path.exists():
        return path.resolve()
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=3)
    where = f"near it: {', '.join(near)}" if near else f"directory {str(path.parent)!r} has nothing like it"
    raise ConfigurationError(
        f"model {str(path)!r}: expected a file or directory, found none; {where}", reason="NO_MODEL"
    )


def _safe(path: Path) -> Path:
    if path.suffix in UNSAFE_SUFFIXES:
        raise ConfigurationError(
            f"model {str(path)!r}: expected safetensors or GGUF, found {path.suffix}, which can run code when it is read",
            reason="UNSAFE_FORMAT",
        )
    return path


def _from_package(rest: str) -> Path:
    """Return a file that an installed distribution ships, without importing it."""
    name, _, inner = rest.partition("/")
    wanted = PurePosixPath(inner)
    if not inner or wanted.is_absolute() or ".." in wanted.parts:
        raise ConfigurationError(f"model source 'pkg://{rest}': expected pkg://distribution/path, found path {inner!r}")
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        known = {str(d.metadata["Name"]) for d in metadata.distributions()}
        near = difflib.get_close_matches(name, sorted(known), n=3)
        raise ConfigurationError(
            f"model source 'pkg://{rest}': no distribution {name!r} is installed"
            + (f"; near it: {', '.join(near)}" if near else ""),
            reason="NO_MODEL",
        ) from error
    files = {str(file) for file in distribution.files or ()}
    if str(wanted) not in files:
        near = difflib.get_close_matches(str(wanted), sorted(files), n=3, cutoff=0.4)
        raise ConfigurationError(
            f"model source 'pkg://{rest}': {name!r} has no file {inner!r}; near it: {', '.join(near) or 'none'}",
            reason="NO_MODEL",
        )
    return Path(str(distribution.locate_file(str(wanted)))).resolve()


def _from_hub(rest: str, progress: Report) -> Path:
    """Return a snapshot of a repository, or one file of it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigurationError(
            f"model source 'hf://{rest}' needs the package huggingface_hub, found none",
            hint="Install it with `pip install 'bellhousing[hf]'`.",
        ) from error
    parts = rest.split("/")
    if len(parts) < 2 or not all(parts):
        raise ConfigurationError(f"model source 'hf://{rest}': expected hf://org/name[@revision][/file]")
    name, _, revision = parts[1].partition("@")
    repository, file = f"{parts[0]}/{name}", "/".join(parts[2:])
    progress(Progress("fetching"))
    try:
        if file:
            _safe(Path(file))
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision or None, allow_patterns=HUB_PATTERNS, tqdm_class=_bar(progress)
            )
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model source 'hf://{rest}': {error}", reason="FETCH_FAILED") from error


def _bar(progress: Report) -> type:
    """Return a progress bar class for the hub that reports to us instead of the terminal."""
    from tqdm.auto import tqdm

    class Reporting(tqdm):  # type: ignore[type-arg, unused-ignore, misc]
        def display(self, *_args: object, **_named: object) -> None:
            unit = "bytes" if self.unit == "B" else "files"
            progress(Progress("fetching", int(self.n), int(self.total or 0), unit))

    return Reporting


def sha256_of(path: Path, progress: Report) -> str:
    """Return the digest of a file, `sha256:...`; a file that did not change since is not read again."""
    status = path.stat()
    key = f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"
    cache = platformdirs.user_cache_path("bellhousing") / "digests.json"
    known = _read_cache(cache)
    if key not in known:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                progress(Progress("hashing", file.tell(), status.st_size, "bytes"))
        known[key] = f"sha256:{digest.hexdigest()}"
        _write_cache(cache, known)
    return known[key]


def _read_cache(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _write_cache(path: Path, digests: dict[str, str]) -> None:
    """Write the cache; a machine whose cache cannot be written only hashes again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{id(digests)}")
        draft.write_text(json.dumps(digests))
        draft.replace(path)
    except OSError:
        return
