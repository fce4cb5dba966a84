"""Failures that are known: each with its issue and a day on which the excuse ends."""

from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import Field

from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.toml_file import read_toml


class Known(Strict):
    """One known failure. After `expires` it is a failure like any other."""

    check: str = Field(min_length=1)
    issue: str = Field(min_length=1)
    expires: date


class KnownFile(Strict):
    """The TOML file: a list of `[[known]]`."""

    known: tuple[Known, ...] = ()


def load_issues(file: Path) -> dict[str, str]:
    """Return the issue of each check whose failure is known and has not expired.

    Raises `ConfigurationError`, also for a check that does not exist.
    """
    told = read_toml(KnownFile, file, "known issues")
    ids = {check.id for check in catalogue()}
    for entry in told.known:
        if entry.check not in ids:
            raise ConfigurationError(f"known issues {str(file)!r}: expected the id of a check, found {entry.check!r}")
    today = datetime.now(UTC).date()
    return {entry.check: entry.issue for entry in told.known if entry.expires >= today}
