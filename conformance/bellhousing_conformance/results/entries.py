"""The list of backends to judge: a TOML file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict
from bellhousing_conformance.toml_file import read_toml
from bellhousing_conformance.verdict import Tier


class Entry(Strict):
    """A backend to start and judge. Paths are relative to where the command runs.

    `python` is the interpreter of the environment that has the backend, this one unless told; `install` tells a reader
    how to get what is absent. `tier` and `profiles` are the list's and all unless told; the samples have the size of
    the tier unless `size` names a smaller one; `remark` tells a reader why. `reference` is a directory with the
    weights, for checks against float32; `against` names an earlier entry, which the profile EQUIVALENCE compares with:
    its samples where its report has them, else it is started again and asked beside.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    backend: str = Field(min_length=1)
    model: str = ""
    python: Path | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)
    install: str = ""
    tensor_parallel: int = Field(1, ge=1)
    max_sequences: int | None = Field(None, ge=1)
    tier: Tier | None = None
    size: Tier | None = None
    profiles: tuple[str, ...] = ()
    remark: str = ""
    reference: Path | None = None
    against: str = ""

    def server_model(self) -> dict[str, Any]:
        """Return the model as a server's configuration has it."""
        return {
            "backend": self.backend,
            "name": self.name,
            "model": self.model,
            "parallelism": {"tensor": self.tensor_parallel},
            "batching": {"max_sequences": self.max_sequences} if self.max_sequences else {},
            "options": dict(self.options),
        }

    def flags(self) -> list[str]:
        """Return the flags of `run` that judge the same."""
        tensor = self.tensor_parallel if self.tensor_parallel > 1 else None
        named = {
            "--start": self.backend, "--model": self.model, "--python": self.python, "--tensor-parallel": tensor,
            "--max-sequences": self.max_sequences, "--reference": self.reference,
        }  # fmt: skip
        pairs = [f"{name}={value}" for name, value in named.items() if value]
        return [*pairs, *(f"--option={key}={json.dumps(value)}" for key, value in self.options.items())]


class EntriesFile(Strict):
    """The TOML file: `[[target]]` for each backend, in the order of the columns."""

    tier: Tier = "standard"
    seed: int = Field(1, ge=0)
    target: tuple[Entry, ...] = Field(min_length=1)


def load_entries(file: Path) -> EntriesFile:
    """Return the list of a file. Raises `ConfigurationError` naming the file, the key and what was found."""
    told = read_toml(EntriesFile, file, "targets")
    names = distinct_names(told.target, file)
    for place, entry in enumerate(told.target):
        if entry.against and entry.against not in names[:place]:
            earlier = ", ".join(names[:place]) or "none"
            raise ConfigurationError(
                f"targets {str(file)!r}: {entry.name}.against: expected an earlier target ({earlier}), "
                f"found {entry.against!r}"
            )
    return told


def distinct_names(entries: Sequence[Entry], file: Path) -> list[str]:
    """Return the names of a file's entries. Raises `ConfigurationError` for one that comes twice."""
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"targets {str(file)!r}: expected each name once, found {', '.join(twice)} again")
    return names
