"""An adapter's files on this machine: what they are, and whether they still are what was registered.

Nothing of them is ever run or unpacked. Both files are looked at where they really are, so that no link leads out of
the directories that are allowed.
"""

import hashlib
import json
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bellhousing.adapters.record import AdapterRecord
from bellhousing.errors import PreconditionFailed

SAFE_SUFFIXES = (".safetensors", ".gguf")
ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
CONFIG = "adapter_config.json"
MOST_CONFIG_BYTES = 1 << 20
MOST_TEXT, MOST_MODULES_TEXT = 1024, 32_768
"""Characters of one name that a configuration tells, and of all its modules: every listing has them."""
CHUNK = 1 << 20
SETTLED_SECONDS = 2.0

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What an adapter's files hold; `config_digest` and what follows are empty without a configuration beside them.

    `stamp` is of before they were read.
    """

    weights: Path
    digest: str
    size_bytes: int
    config_digest: str = ""
    base_model: str = ""
    rank: int = 0
    target_modules: tuple[str, ...] = ()
    stamp: Stamp = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Rules:
    """What files may be taken: from below `roots`, links followed, and of at most `most_bytes`."""

    roots: tuple[Path, ...]
    most_bytes: int


def read(path: Path, rules: Rules) -> Contents:
    """Read an adapter: a file of weights, or a directory with one and perhaps `adapter_config.json`.

    Raises `PreconditionFailed`: SOURCE_GONE, SOURCE_OUTSIDE, ADAPTER_FORMAT or ADAPTER_TOO_BIG.
    """
    try:
        weights = find_weights(path, rules)
        before = stamp(weights, _config_file(path))
        told = _configuration(path, rules)
        return Contents(weights, _digest(weights), weights.stat().st_size, stamp=before, **told)
    except OSError as error:
        raise _gone(path, error) from error


def verify(record: AdapterRecord, path: Path, rules: Rules, known: Stamp) -> Stamp:
    """Return the stamp of an adapter's files, which are those that were registered.

    With a stamp of an earlier call, files that nobody touched since are not read again. Raises `PreconditionFailed`:
    ADAPTER_CHANGED, and what `read` raises.
    """
    try:
        weights, config = find_weights(path, rules), _config_file(path)
        before = stamp(weights, config)
        if not known or before != known:
            _check(record, "weights", weights, record.digest)
            _check(record, "configuration", config, record.config_digest)
    except OSError as error:
        raise _gone(path, error) from error
    return before


def _check(record: AdapterRecord, what: str, file: Path, digest: str) -> None:
    found = _digest(file) if file.is_file() else ""
    if found != digest:
        raise PreconditionFailed(
            f"adapter {record.name!r}: its {what} changed since it was registered: expected digest"
            f" {digest or 'none'}, found {found or 'none'}",
            reason="ADAPTER_CHANGED",
            hint="Remove it and add it again to serve what is there now.",
        )


def stamp(*files: Path) -> Stamp:
    """Return what changes with every write to files or their replacement; no user can set the time of change back.

    Nothing for a file changed just now: clocks of file systems are coarse, and another write could have the same time.
    """
    found = [file.stat() for file in files if file.exists()]
    if any(time.time() - each.st_ctime <= SETTLED_SECONDS for each in found):
        return ()
    return tuple(number for each in found for number in (each.st_ino, each.st_size, each.st_ctime_ns))


def find_weights(path: Path, rules: Rules) -> Path:
    """Return the file that holds the weights. Raises `PreconditionFailed`, and `OSError` when it cannot be read."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        found = sorted(f for f in path.iterdir() if f.suffix in SAFE_SUFFIXES)
        if len(found) != 1:
            raise _format(path, f"one file of {' or '.join(SAFE_SUFFIXES)}", str(len(found)))
        path = found[0]
    elif path.suffix in ARCHIVE_SUFFIXES:
        raise _format(path, "a directory or a file of weights", f"an archive ({path.suffix}), which is not unpacked")
    elif path.suffix not in SAFE_SUFFIXES:
        raise _format(path, f"a file of {' or '.join(SAFE_SUFFIXES)}", path.suffix or "no suffix")
    return _checked(path, rules)


def largest_file(path: Path) -> int:
    """Return the size in bytes of a file, or of the largest in a directory; 0 when it cannot be read."""
    try:
        return max((file.stat().st_size for file in (path.iterdir() if path.is_dir() else (path,))), default=0)
    except OSError:
        return 0


def adapters_in(path: Path) -> list[Path]:
    """Return what looks like an adapter directly below a directory, by name. Raises `PreconditionFailed`."""
    if not path.is_dir():
        raise _format(path, "a directory", "a file")
    try:
        return sorted(filter(_is_adapter, path.iterdir()))
    except OSError as error:
        raise _gone(path, error) from error


def _is_adapter(path: Path) -> bool:
    """Tell whether a directory looks like one adapter, or may be one that nobody may read."""
    try:
        return path.is_dir() and any(file.suffix in SAFE_SUFFIXES for file in path.iterdir())
    except OSError:
        return True


def _checked(file: Path, rules: Rules) -> Path:
    """Return where a file really is. Raises `PreconditionFailed` when it must not be taken."""
    real = file.resolve(strict=True)
    if not any(real.is_relative_to(root) for root in rules.roots):
        raise PreconditionFailed(
            f"adapter file {str(file)!r} leads to {str(real)!r}, outside the allowed directories:"
            f" {', '.join(map(str, rules.roots)) or 'none; set models.adapter_roots'}",
            reason="SOURCE_OUTSIDE",
        )
    status = real.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _format(file, "a regular file", "another kind")
    if status.st_size > rules.most_bytes:
        raise PreconditionFailed(
            f"adapter file {str(file)!r}: expected at most {rules.most_bytes} bytes"
            f" (adapters.max_adapter_bytes), found {status.st_size}",
            reason="ADAPTER_TOO_BIG",
        )
    return real


def _config_file(path: Path) -> Path:
    return path / CONFIG  # below a file there is none: its neighbours are not part of it


def _configuration(path: Path, rules: Rules) -> dict[str, Any]:
    """Return the fields of `Contents` that the configuration tells."""
    file = _config_file(path)
    if not file.is_file():
        return {}
    raw = _read_small(_checked(file, rules))
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _format(file, "JSON", type(error).__name__) from error
    if not isinstance(found, dict):
        raise _format(file, "a JSON object", type(found).__name__)
    rank = found.get("r")
    base = found.get("base_model_name_or_path")
    base = base if isinstance(base, str) else ""
    modules = _modules(found)
    if not all(len(text) <= MOST_TEXT and text.isprintable() for text in (base, *modules)):
        raise _format(file, f"names of {MOST_TEXT} printable characters or fewer", "others")
    if sum(map(len, modules)) > MOST_MODULES_TEXT:
        raise _format(file, f"target_modules of {MOST_MODULES_TEXT} characters or fewer together", "more")
    return {
        "config_digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
        "base_model": base,
        "rank": rank if isinstance(rank, int) and 0 < rank < 1 << 16 else 0,
        "target_modules": modules,
    }


def _modules(config: Mapping[str, Any]) -> tuple[str, ...]:
    found = config.get("target_modules")
    if isinstance(found, str):
        return (found,)
    return tuple(sorted(str(name) for name in found)) if isinstance(found, Sequence) else ()


def _read_small(file: Path) -> bytes:
    with file.open("rb") as opened:
        raw = opened.read(MOST_CONFIG_BYTES + 1)
    if len(raw) > MOST_CONFIG_BYTES:
        raise _format(file, f"at most {MOST_CONFIG_BYTES} bytes", "more")
    return raw


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _gone(path: Path, error: OSError) -> PreconditionFailed:
    return PreconditionFailed(
        f"adapter source {str(path)!r}: expected a file or directory, found: {error.strerror}", reason="SOURCE_GONE"
    )


def _format(path: Path, expected: str, found: str) -> PreconditionFailed:
    return PreconditionFailed(f"adapter {str(path)!r}: expected {expected}, found {found}", reason="ADAPTER_FORMAT")
