"""Documents that follow from raw rows: written whole, read, and held against what the rows say."""

import math
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import write_whole

Document = TypeVar("Document", bound=BaseModel)


def write_document(document: BaseModel, file: Path) -> None:
    """Write a document as JSON, whole or not at all. Raises `ConfigurationError`."""
    write_whole(document.model_dump_json(indent=1) + "\n", file)


def read_document(kind: type[Document], file: Path, what: str) -> Document:
    """Return the document of a file. Raises `ConfigurationError`; `what` is how it calls the file."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{what} {str(file)!r}: expected a file, found {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ConfigurationError(f"{what} {str(file)!r}: {where}: {fault['msg']}") from error


def differences(told: Document, again: Document) -> list[str]:
    """Return where a document is not what was computed again: a sentence for each field."""
    return [
        f"{name}: expected {getattr(again, name)}, found {getattr(told, name)}"
        for name in type(told).model_fields
        if getattr(again, name) != getattr(told, name)
    ]


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None where it is beyond all of them."""
    return value if math.isfinite(value) else None
