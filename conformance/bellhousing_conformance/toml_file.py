"""TOML files that a person writes: read and checked, with errors that name the file, the key and what was found."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from bellhousing.config import explain
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict

Kind = TypeVar("Kind", bound=Strict)


def read_toml(kind: type[Kind], file: Path, what: str) -> Kind:
    """Return what a file tells. Raises `ConfigurationError`; `what` is how it calls the file."""
    where = f"{what} {str(file)!r}"
    try:
        return kind.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{where}: expected a file, found {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: expected TOML, found {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {explain(error, kind)}") from error
