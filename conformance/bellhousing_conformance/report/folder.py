"""The folder of a report: there and open before a run begins, so that no run is lost for want of it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bellhousing.errors import ConfigurationError


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there. Raises `ConfigurationError` when nothing can be written into it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `ConfigurationError` where the body cannot write: the operator named the place."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{str(error.filename or path)!r}: expected a place to write to, found {error.strerror or error}"
        ) from error
