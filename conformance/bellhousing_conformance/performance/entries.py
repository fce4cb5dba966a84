"""The list of backends to compare: a TOML file."""

import math
from pathlib import Path
from typing import Any

from pydantic import Field

from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict
from bellhousing_conformance.compare.blocks import ARMS
from bellhousing_conformance.compare.settings import OVERHEAD_SECONDS, Settings, settings_of
from bellhousing_conformance.compare.statistics import LEAST_PAIRS
from bellhousing_conformance.load.workload import Lengths
from bellhousing_conformance.results.entries import Entry, distinct_names
from bellhousing_conformance.toml_file import read_toml

START_SECONDS = 150.0
"""Of a comparison: two servers start, and are warmed up."""


class SpeedEntry(Entry):
    """A backend to start. With `natural` outputs end where the models end them, for one that cannot do otherwise."""

    natural: bool = False


class SpeedFile(Strict):
    """The TOML file: the first `[[target]]` is what every other one is compared with. The keys are those of `Settings`.

    `environment` is what its figures depend on beside this file, for the reader.
    """

    pairs: int = Field(20, ge=1)
    block_seconds: float = Field(15.0, ge=1)
    seed: int = Field(1, ge=0)
    share: float = Field(0.5, gt=0, lt=1)
    concurrency: int = Field(4, ge=1)
    prompt_tokens: Lengths = Lengths(low=64, high=64)
    output_tokens: Lengths = Lengths(low=32, high=32)
    environment: str = ""
    target: tuple[SpeedEntry, ...] = Field(min_length=2)

    @property
    def reference(self) -> SpeedEntry:
        """What every other one is compared with."""
        return self.target[0]

    @property
    def others(self) -> tuple[SpeedEntry, ...]:
        """What is compared."""
        return self.target[1:]

    def seconds(self) -> float:
        """Return about how long all comparisons take."""
        each = START_SECONDS + self.pairs * len(ARMS) * (self.block_seconds + OVERHEAD_SECONDS)
        return each * len(self.others)

    def within(self, minutes: float) -> "SpeedFile":
        """Return the list with as many pairs as fit. Raises `ConfigurationError` where those decide nothing."""
        each = minutes * 60 / len(self.others) - START_SECONDS
        pairs = int(each // (len(ARMS) * (self.block_seconds + OVERHEAD_SECONDS)))
        if pairs < LEAST_PAIRS:
            least = self.model_copy(update={"pairs": LEAST_PAIRS}).seconds() / 60
            raise ConfigurationError(
                f"--minutes {minutes:g}: expected at least {math.ceil(least)} for {LEAST_PAIRS} pairs of blocks of "
                f"{self.block_seconds:g} s each",
                hint="`--block` makes them shorter",
            )
        return self.model_copy(update={"pairs": pairs})

    def settings(self, entry: SpeedEntry) -> Settings:
        """Return the comparison of an entry with the reference."""
        told = self.model_dump(include=set(Settings.model_fields) - {"a", "b"})
        return settings_of({**told, "natural": entry.natural, "a": _side(entry), "b": _side(self.reference)})


def load_speeds(file: Path) -> SpeedFile:
    """Return the list of a file. Raises `ConfigurationError` naming the file, the key and what was found."""
    told = read_toml(SpeedFile, file, "targets")
    distinct_names(told.target, file)
    return told


def _side(entry: SpeedEntry) -> dict[str, Any]:
    return {
        "start": entry.backend,
        "model": entry.model,
        "python": entry.python,
        "max_sequences": entry.max_sequences,
        "options": dict(entry.options),
    }
