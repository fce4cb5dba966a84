"""Where adapters come from: `file://` below allowed directories, and what is fetched from hubs and object stores."""

import fnmatch
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from bellhousing.adapters.cache import AdapterCache, Held
from bellhousing.adapters.files import CONFIG, MOST_CONFIG_BYTES, SAFE_SUFFIXES, Contents, Rules, read
from bellhousing.errors import BellhousingError, EngineUnavailable, PreconditionFailed

CHUNK = 1 << 20
MOST_FILES = 1000
WANTED = (CONFIG, *(f"*{suffix}" for suffix in SAFE_SUFFIXES))
RETRY_SECONDS = 5.0
HUB = "hf://"
PIECE_BYTES = 8 << 20
"""What is asked of a store at once: little enough for a fetch that nobody waits for to end soon."""
PACKAGES = {"hf": "huggingface_hub", "s3": "s3fs"}
"""What opens a scheme beside fsspec, as far as an extra of ours installs it."""
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError")
"""Botocore's errors of a client that was told none."""
_HUB_FORM = re.compile(r"hf://[^/@]+/[^/@]+(@[^/@]+)?(/[^@]*)?")
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\")>]*")
"""The query of an address: stores sign addresses there, and such a signature is as good as a key."""


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
    if parts.password:
        raise _refused(f"{parts.scheme}://...", "an address without a password", "one with it")
    if ".." in PurePosixPath(unquote(parts.netloc + parts.path)).parts:
        raise _refused(source, "an address without ..", "one with it")
    if not any(_is_below(source, prefix) for prefix in rules.prefixes):
        allowed = ", ".join(rules.prefixes) or "none; set models.adapter_sources"
        raise _refused(source, f"file:// or an address that begins with one of: {allowed}", f"scheme {parts.scheme!r}")


def fetch(source: str, cache: AdapterCache, rules: SourceRules, stop: threading.Event) -> tuple[Contents, Held]:
    """Fetch a remote adapter into the cache; return what it holds and its entry, held.

    Once `stop` is set the fetch ends at the next piece, with `EngineUnavailable`. However it ends, nothing is left of
    it unless it is whole.
    Raises `PreconditionFailed` (SOURCE_GONE, SOURCE_DENIED, ADAPTER_FORMAT, ADAPTER_TOO_BIG), `Overloaded`
    (DISK_BUDGET_EXCEEDED), `EngineUnavailable` (FETCH_FAILED) for what may work later, and `ConfigurationError`.
    """
    with cache.staging() as folder:
        target = folder / "adapter"
        target.mkdir()
        with _store_errors(source):
            filesystem, root = _opened(source)
            chosen = _chosen(source, _listed(filesystem, root), rules.most_bytes)
            cache.check_size(sum(size for _, size in chosen))
            for path, size in chosen:
                _copy(filesystem, path, target, size, source, stop)
        contents = read(target, Rules((folder.resolve(),), rules.most_bytes))
        return contents, cache.keep(folder, contents.digest, contents.config_digest)


def _is_below(source: str, prefix: str) -> bool:
    """Tell whether an address is a prefix or below it; `s3://bucket` does not allow `s3://bucket-of-another`."""
    return source == prefix or source.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _opened(source: str) -> tuple[Any, str]:
    """Return the filesystem that has a source, and where in it."""
    is_of_hub = source.startswith(HUB)
    if is_of_hub and not _HUB_FORM.fullmatch(source):
        raise _refused(source, "hf://org/name[@revision][/directory]", "another form")
    try:
        import fsspec

        # A client of the hub is cheap, and a new one has the token of now; those of other stores are shared.
        filesystem, root = fsspec.core.url_to_fs(source, **({"skip_instance_cache": True} if is_of_hub else {}))
    except ImportError as error:
        raise _lacks(source, error) from error
    except ValueError as error:
        raise _refused(source, "an address that fsspec can open", _words(error)) from error
    return filesystem, root


@contextmanager
def _store_errors(source: str) -> Iterator[None]:
    """Translate what a store's client raises."""
    try:
        yield
    except BellhousingError:
        raise
    except ImportError as error:
        raise _lacks(source, error) from error
    except Exception as error:  # each of fsspec's filesystems raises what its own client does
        if _is_denied(error):
            raise _denied(source, error) from error
        if isinstance(error, FileNotFoundError):
            raise _gone(source, error) from error
        raise _failed(source, error) from error


def _is_denied(error: BaseException) -> bool:
    """Tell whether a store wants other credentials; the hub's filesystem tells it of the cause alone."""
    cause = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    is_denied = isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in NO_CREDENTIALS
    return is_denied or (cause is not None and _is_denied(cause))


def _listed(filesystem: Any, root: str) -> list[tuple[str, int]]:
    """Return the files of a place in a store, by path and size."""
    filesystem.invalidate_cache()  # a listing of an earlier fetch has the sizes of that time
    listed = [entry for entry in filesystem.ls(root, detail=True) if entry["type"] == "file"]
    return [(entry["name"], int(entry["size"] or 0)) for entry in listed]


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


def _copy(filesystem: Any, path: str, folder: Path, size: int, source: str, stop: threading.Event) -> None:
    """Copy a file into a directory; what gives more than it announced, as a bomb does, is refused."""
    target, written = folder / PurePosixPath(path).name, 0
    with filesystem.open(path, "rb", block_size=PIECE_BYTES) as stream, _new_file(target) as file:
        while chunk := stream.read(CHUNK):
            written += len(chunk)
            if stop.is_set():
                raise EngineUnavailable(f"adapter source {source!r}: nobody waits for it any more")
            if written > size:
                raise _too_big(source, target.name, size, written)
            file.write(chunk)
    if written != size:
        raise EngineUnavailable(
            f"adapter source {source!r}: expected {size} bytes of {target.name}, found {written}",
            reason="FETCH_FAILED",
            retry_after=RETRY_SECONDS,
        )


def _new_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb")


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


def _denied(source: str, error: Exception) -> PreconditionFailed:
    return PreconditionFailed(
        f"adapter source {source!r}: expected that this server may read it, found that it may not ({_words(error)})",
        reason="SOURCE_DENIED",
        hint="The server needs credentials of the store, in the variables that its client reads: see docs/adapters.md.",
    )


def _failed(source: str, error: Exception) -> EngineUnavailable:
    return EngineUnavailable(
        f"adapter source {source!r} cannot be fetched: {type(error).__name__}: {_words(error)}",
        reason="FETCH_FAILED",
        retry_after=RETRY_SECONDS,
    )


def _lacks(source: str, error: ImportError) -> PreconditionFailed:
    scheme = urlsplit(source).scheme
    package = error.name or PACKAGES.get(scheme, f"that fsspec opens {scheme}:// with")
    return PreconditionFailed(
        f"adapter source {source!r} needs the package {package}, found none",
        reason="NO_FETCHER",
        hint=f"Install it with `pip install 'bellhousing[{scheme if scheme in PACKAGES else 's3'}]'`.",
    )


def _words(error: Exception) -> str:
    """Return what an error says, on one line and without the queries of addresses."""
    return _QUERY.sub(r"\1?...", " ".join(str(error).split()))
