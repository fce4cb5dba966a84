"""Failures that are known: each with its issue and a day on which the excuse ends."""

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from bellhousing.config import explain
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict


class Known(Strict):
    """One known failure. After `expires` it is a failure like any other."""

    check: str = Field(min_length=1)
    issue: str = Field(min_length=1)
    expires: date


class KnownFile(Strict):
    """The TOML file: a list of `[[known]]`."""

    known: tuple[Known, ...] = ()


def load_issues(file: Path) -> dict[str, str]:
    """Return the issue of each check whose failure is known and has not expired. Raises `ConfigurationError`."""
    try:
        told = KnownFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"known issues {str(file)!r}: expected a file, found {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"known issues {str(file)!r}: expected TOML, found {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"known issues {str(file)!r}: {explain(error, KnownFile)}") from error
    today = datetime.now(UTC).date()
    return {entry.check: entry.issue for entry in told.known if entry.expires >= today}
