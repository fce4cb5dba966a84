"""Raw samples beside a report: one JSONL file for each attempt, named by its digest in the report."""

import hashlib
import json
from pathlib import Path

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import whole_file
from bellhousing_conformance.verdict import Row, Rows

FOLDER = "samples"


def write_samples(folder: Path, name: str, rows: Rows) -> tuple[str, str]:
    """Write rows under the report's folder; return the file relative to it and its SHA-256.

    Raises `ConfigurationError` where the file cannot be written; then there is none of that name.
    """
    text = _text(rows)
    file = folder / FOLDER / f"{name}.jsonl"
    with whole_file(file) as opened:
        opened.write(text)
    return f"{FOLDER}/{file.name}", hashlib.sha256(text).hexdigest()


def read_samples(folder: Path, name: str, sha256: str) -> list[Row]:
    """Return the rows of a file. Raises `ConfigurationError` when it is missing or not what the report was made of."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"samples {name!r}: expected a file below the report")
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"samples {name!r}: expected a file, found {error.strerror}") from error
    found = hashlib.sha256(text).hexdigest()
    if found != sha256:
        raise ConfigurationError(f"samples {name!r}: expected sha256 {sha256}, found {found}")
    return _rows(text)


def as_recorded(rows: Rows) -> list[Row]:
    """Return rows as a reader of the file gets them, in the order of their keys too: what is judged in a run is what
    `verify` judges."""
    return _rows(_text(rows))


def _text(rows: Rows) -> bytes:
    return "".join([json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows]).encode()


def _rows(text: bytes) -> list[Row]:
    return [json.loads(line) for line in text.splitlines()]
