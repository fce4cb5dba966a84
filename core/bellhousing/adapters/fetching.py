"""Where adapters come from: `file://` below allowed directories, and what is fetched from hubs and object stores."""

import fnmatch
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from bellhousing.adapters.cache import AdapterCache, Held
from bellhousing.adapters.files import CONFIG, MOST_CONFIG_BYTES, SAFE_SUFFIXES, Contents, Rules, read
from bellhousing.errors import EngineUnavailable, PreconditionFailed

CHUNK = 1 << 20
MOST_FILES = 1000
WANTED = (CONFIG, *(f"*{suffix}" for suffix in SAFE_SUFFIXES))
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What a model's adapters may come from: directories of this machine, and addresses with an allowed beginning."""

    roots: tuple[Path, ...]
    prefixes: tuple[str, ...]
    most_bytes: int

    def local(self) -> Rules:
        """Return the rules for files of a `file://` source."""
        return Rules(self.roots, self.most_bytes)


def is_local(source: str) -> bool:
    """Tell whether a source is a path of this machine."""
    return source[:5].lower() == "file:"


def local_path(source: str, rules: SourceRules) -> Path:
    """Return the path of a `file://` source.

    Raises `PreconditionFailed`: SOURCE_REFUSED, SOURCE_OUTSIDE or SOURCE_GONE.
    """
    parts = urlsplit(source)
    if parts.netloc or "\0" in unquote(parts.path):
        raise _refused(source, "file:///path", f"host {parts.netloc!r}")
    path = Path(unquote(parts.path)).resolve()
    if not any(path.is_relative_to(root) for root in rules.roots):
        roots = ", ".join(str(root) for root in rules.roots) or "none; set models.adapter_roots"
        raise PreconditionFailed(
            f"adapter source {source!r} is outside the allowed directories: {roots}", reason="SOURCE_OUTSIDE"
        )
    if not path.exists():
        raise PreconditionFailed(
            f"adapter source {source!r}: expected a file or directory, found nothing", reason="SOURCE_GONE"
        )
    return path


def check_remote(source: str, rules: SourceRules) -> None:
    """Raise `PreconditionFailed`, SOURCE_REFUSED, for an address that adapters must not come from."""
    parts = urlsplit(source)
    if not parts.scheme:
        raise _refused(source, "a URI such as file:///path or hf://org/name", "no scheme")
    if ".." in PurePosixPath(unquote(parts.netloc + parts.path)).parts:
        raise _refused(source, "an address without ..", "one with it")
    if not any(_is_below(source, prefix) for prefix in rules.prefixes):
        allowed = ", ".join(rules.prefixes) or "none; set models.adapter_sources"
        raise _refused(source, f"file:// or an address that begins with one of: {allowed}", f"scheme {parts.scheme!r}")


def fetch(source: str, cache: AdapterCache, rules: SourceRules) -> tuple[Contents, Held]:
    """Fetch a remote adapter into the cache; return what it holds and its entry, held.

    Raises `PreconditionFailed` (SOURCE_GONE, ADAPTER_FORMAT, ADAPTER_TOO_BIG), `Overloaded` (DISK_BUDGET_EXCEEDED), and
    `EngineUnavailable` (FETCH_FAILED) for what may work later.
    """
    with cache.staging() as folder:
        target = folder / "adapter"
        target.mkdir()
        if source.startswith("hf://"):
            _from_hub(source, target, rules.most_bytes)
        else:
            _from_filesystem(source, target, rules.most_bytes)
        contents = read(target, Rules((folder.resolve(),), rules.most_bytes))
        return contents, cache.keep(folder, contents.digest, contents.config_digest)


def _is_below(source: str, prefix: str) -> bool:
    """Tell whether an address is a prefix or below it; `s3://bucket` does not allow `s3://bucket-of-another`."""
    return source == prefix or source.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _from_hub(source: str, target: Path, most_bytes: int) -> None:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError
    except ImportError as error:
        raise _lacks(source, "huggingface_hub", "hf") from error
    org, _, rest = source.removeprefix("hf://").partition("/")
    repository, _, folder = rest.partition("/")
    name, at, revision = repository.partition("@")
    if not (org and name) or bool(at) != bool(revision):
        raise _refused(source, "hf://org/name[@revision][/directory]", "another form")
    name, wanted = f"{org}/{name}", unquote(revision) or None
    hub = HfApi()
    try:
        listed = hub.list_repo_tree(name, path_in_repo=folder or None, revision=wanted)
        files = [(f.path, f.size) for f in listed if hasattr(f, "size")]
        for path, size in _chosen(source, files, most_bytes):
            fetched = hub.hf_hub_download(name, path, revision=wanted, local_dir=target / "hub")
            _move(Path(fetched), target, size)
        shutil.rmtree(target / "hub", ignore_errors=True)
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise _gone(source, error) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _failed(source, error) from error


def _move(file: Path, target: Path, size: int) -> None:
    if file.is_symlink() or file.stat().st_size != size:
        raise PreconditionFailed(
            f"adapter file {file.name!r}: expected {size} bytes, found another file", reason="ADAPTER_FORMAT"
        )
    file.rename(target / file.name)


def _from_filesystem(source: str, target: Path, most_bytes: int) -> None:
    try:
        import fsspec
    except ImportError as error:
        raise _lacks(source, "fsspec", "s3") from error
    try:
        filesystem, root = fsspec.core.url_to_fs(source)
        listed = [entry for entry in filesystem.ls(root, detail=True) if entry["type"] == "file"]
        for path, size in _chosen(source, [(e["name"], int(e["size"] or 0)) for e in listed], most_bytes):
            with filesystem.open(path, "rb") as stream:
                _copy(stream, target / PurePosixPath(path).name, size, source)
    except ImportError as error:
        raise _lacks(source, str(error.name or error), "s3") from error
    except FileNotFoundError as error:
        raise _gone(source, error) from error
    except (OSError, ValueError) as error:
        raise _failed(source, error) from error


def _chosen(source: str, files: Sequence[tuple[str, int]], most_bytes: int) -> list[tuple[str, int]]:
    """Return the files of an adapter among those of a place, by path and size."""
    if len(files) > MOST_FILES:
        raise _format(source, f"at most {MOST_FILES} files", str(len(files)))
    named = [(path, size) for path, size in files if _is_wanted(PurePosixPath(path).name)]
    weights = [path for path, _ in named if not path.endswith(CONFIG)]
    if len(weights) != 1:
        raise _format(source, f"one file of {' or '.join(SAFE_SUFFIXES)}", str(len(weights)))
    for path, size in named:
        allowed = MOST_CONFIG_BYTES if path.endswith(CONFIG) else most_bytes
        if size > allowed:
            raise _too_big(source, path, allowed, size)
    return named


def _is_wanted(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in WANTED)


def _copy(stream: Any, target: Path, size: int, source: str) -> None:
    """Write a stream to a new file; what gives more than it announced, as a bomb does, is refused."""
    written = 0
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
        while chunk := stream.read(CHUNK):
            written += len(chunk)
            if written > size:
                raise _too_big(source, target.name, size, written)
            file.write(chunk)
    if written != size:
        raise EngineUnavailable(
            f"adapter source {source!r}: expected {size} bytes of {target.name}, found {written}",
            reason="FETCH_FAILED",
            retry_after=RETRY_SECONDS,
        )


def _too_big(source: str, file: str, expected: int, found: int) -> PreconditionFailed:
    return PreconditionFailed(
        f"adapter source {source!r}: expected at most {expected} bytes of {PurePosixPath(file).name}, found {found}",
        reason="ADAPTER_TOO_BIG",
    )


def _format(source: str, expected: str, found: str) -> PreconditionFailed:
    return PreconditionFailed(f"adapter source {source!r}: expected {expected}, found {found}", reason="ADAPTER_FORMAT")


def _refused(source: str, expected: str, found: str) -> PreconditionFailed:
    return PreconditionFailed(f"adapter source {source!r}: expected {expected}, found {found}", reason="SOURCE_REFUSED")


def _gone(source: str, error: Exception) -> PreconditionFailed:
    return PreconditionFailed(
        f"adapter source {source!r}: expected an adapter, found nothing ({_words(error)})", reason="SOURCE_GONE"
    )


def _failed(source: str, error: Exception) -> EngineUnavailable:
    return EngineUnavailable(
        f"adapter source {source!r} cannot be fetched: {type(error).__name__}: {_words(error)}",
        reason="FETCH_FAILED",
        retry_after=RETRY_SECONDS,
    )


def _lacks(source: str, package: str, extra: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"adapter source {source!r} needs the package {package}, found none",
        reason="NO_FETCHER",
        hint=f"Install it with `pip install 'bellhousing[{extra}]'`.",
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())
