"""What a comparison is asked: both sides, how long, what load. Everything of it is decided before the first block."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from bellhousing.config import explain
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict
from bellhousing_conformance.compare.blocks import ARMS
from bellhousing_conformance.load.clients import KINDS
from bellhousing_conformance.load.document import write_document
from bellhousing_conformance.load.schedule import MOST_RATE
from bellhousing_conformance.load.workload import Lengths, Workload

SETTINGS_FILE = "settings.json"
LEAST_REQUESTS = 11
"""Requests that a block should measure: below, it has no median to speak of (see `load.percentiles`)."""


OVERHEAD_SECONDS = 3.0
"""Of a block: two senders start, and the last answers come."""


class SideSettings(Strict):
    """One side: exactly one of `address`, `config` and `start`.

    `address` is HOST:PORT, or a URL for another client than `contract`; `config` a TOML file of a target; `start` a
    backend, which the other keys are for.
    """

    client: str = "contract"
    address: str = ""
    config: Path | None = None
    start: str = ""
    model: str = ""
    python: Path | None = None
    max_sequences: int | None = Field(None, ge=1)
    options: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> "SideSettings":
        given = [name for name in ("address", "config", "start") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"expected one of address, config and start, found {', '.join(given) or 'none'}")
        if self.client not in KINDS:
            raise ValueError(f"client: expected one of {', '.join(KINDS)}, found {self.client!r}")
        if self.start and self.client != "contract":
            raise ValueError(f"client: a server that is started speaks the contract, found {self.client!r}")
        return self

    @property
    def name(self) -> str:
        """What to call it."""
        return self.start or self.address or str(self.config)


class Settings(Strict):
    """A comparison. `block_seconds` are those of a block: two thirds of it in an open loop, then a closed one.

    The rate of the open loop is `rate` requests a second, or else `share` of the capacity of the slower side, which is
    measured first with `concurrency` requests at once.
    """

    a: SideSettings
    b: SideSettings
    pairs: int = Field(20, ge=1, le=1000)
    block_seconds: float = Field(15.0, ge=1, le=600)
    seed: int = Field(ge=0)
    rate: float | None = Field(None, gt=0, le=MOST_RATE)
    share: float = Field(0.5, gt=0, lt=1)
    concurrency: int = Field(4, ge=1)
    prompt_tokens: Lengths = Lengths(low=64, high=64)
    output_tokens: Lengths = Lengths(low=32, high=32)
    natural: bool = False
    tokens_per_word: float = Field(1.0, gt=0, allow_inf_nan=False)
    deadline: float = Field(60.0, gt=0, allow_inf_nan=False)

    @property
    def workload(self) -> Workload:
        """What requests look like."""
        return Workload(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            natural=self.natural,
            tokens_per_word=self.tokens_per_word,
        )

    @property
    def open_seconds(self) -> float:
        """The seconds of a block's open loop, its warm-up included."""
        return self.block_seconds * 2 / 3

    @property
    def warm_up_seconds(self) -> float:
        """Of those the seconds that are not measured."""
        return self.open_seconds / 10

    @property
    def closed_seconds(self) -> float:
        """The seconds of a block's closed loop."""
        return self.block_seconds / 3

    @property
    def seconds(self) -> float:
        """About how long all blocks take, where none is rejected."""
        return self.pairs * len(ARMS) * (self.block_seconds + OVERHEAD_SECONDS)

    def check_rate(self, rate: float) -> None:
        """Raise `ConfigurationError` for a rate at which a block measures too few requests for a median."""
        expected = rate * (self.open_seconds - self.warm_up_seconds)
        if expected < LEAST_REQUESTS:
            needed = self.block_seconds * LEAST_REQUESTS / expected
            raise ConfigurationError(
                f"the blocks: expected at least {LEAST_REQUESTS} requests in the open loop of each, "
                f"found {expected:.1f} at {rate:.3g} requests/s",
                hint=f"`--block {needed:.0f}`, or shorter outputs",
            )


def is_begun(folder: Path) -> bool:
    """Tell whether a folder has a comparison: one whose sides were reached and whose calibration was measured."""
    return (folder / SETTINGS_FILE).is_file()


def require_new(folder: Path) -> None:
    """Raise `ConfigurationError` for a folder that has a comparison."""
    if is_begun(folder):
        raise ConfigurationError(
            f"folder {str(folder)!r}: expected none of an earlier comparison, found {SETTINGS_FILE}",
            hint=f"`--resume {folder}` goes on with it; another `--output` begins a new one",
        )


def write_settings(settings: Settings, folder: Path) -> None:
    """Write the settings into a folder, and with it begin a comparison. Raises `ConfigurationError`."""
    write_document(settings, folder / SETTINGS_FILE)


def read_settings(folder: Path) -> Settings:
    """Return the settings of a folder. Raises `ConfigurationError`."""
    file = folder / SETTINGS_FILE
    try:
        return Settings.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"comparison {str(file)!r}: expected a file, found {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"comparison {str(file)!r}: {explain(error, Settings)}") from error


def settings_of(told: Mapping[str, Any]) -> Settings:
    """Return the settings of some keys. Raises `ConfigurationError` naming the key."""
    try:
        return Settings.model_validate(told)
    except ValidationError as error:
        raise ConfigurationError(f"the comparison: {explain(error, Settings)}") from error


def require_same(stored: Settings, asked: Mapping[str, Any], folder: Path) -> None:
    """Raise `ConfigurationError` naming each key of `asked` that is not what a comparison was begun with."""
    kept = json.loads(stored.model_dump_json())
    wanted = json.loads(settings_of({**kept, **asked}).model_dump_json())
    other = [
        f"{key}: expected {_short(kept[key])}, found {_short(wanted[key])}" for key in kept if kept[key] != wanted[key]
    ]
    if other:
        raise ConfigurationError(f"--resume {folder}: the comparison was begun otherwise: {'; '.join(other)}")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps({key: each for key, each in value.items() if each not in (None, "", {}, "contract")})
    return json.dumps(value)
