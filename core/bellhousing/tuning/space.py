"""The candidates: every combination of the values to try."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bellhousing.config import ModelConfig
from bellhousing.errors import ConfigurationError
from bellhousing.toml import toml_value

Value = int | float | bool | str
Settings = Mapping[str, Value]
"""Settings of a model by path, such as `batching.max_sequences` or `options.threads`."""


def combinations(space: Mapping[str, Sequence[Value]]) -> list[Settings]:
    """Return every combination of the values, in their order."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def parsed(tries: Sequence[str]) -> dict[str, list[Value]]:
    """Return the space written as `PATH=VALUE,VALUE`. Raises `ConfigurationError` for anything else."""
    space: dict[str, list[Value]] = {}
    for text in tries:
        path, _, values = text.partition("=")
        if not path.startswith(("batching.", "options.")) or not values:
            raise ConfigurationError(
                f"--try {text!r}: expected PATH=VALUE,VALUE with a path such as batching.max_sequences or options.NAME"
            )
        space[path] = [_value(part) for part in values.split(",")]
    return space


def applied(model: ModelConfig, settings: Settings) -> dict[str, Any]:
    """Return the model's configuration with the settings in place, as plain values."""
    result = model.model_dump(mode="json")
    for path, value in settings.items():
        *parents, name = path.split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = value
    return result


def toml(settings: Settings) -> str:
    """Return the settings as lines for a table `[[models]]`."""
    return "\n".join(f"{path} = {toml_value(value)}" for path, value in settings.items())


def label(settings: Settings) -> str:
    """Return the settings in a few words, without the tables that they are in."""
    return ", ".join(f"{path.rpartition('.')[2]} {value}" for path, value in settings.items()) or "as configured"


def _value(text: str) -> Value:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float | bool | str) else text
