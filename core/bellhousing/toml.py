"""Values and tables in TOML, as a person would write them in `bellhousing.toml`."""

import json
import math
from collections.abc import Mapping
from typing import Any


def toml_value(value: object) -> str:
    """Return a value as TOML on one line; tables become inline tables, anything unknown its `str`."""
    if isinstance(value, Mapping):
        items = ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is and TOML forbids.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_table(header: str, values: Mapping[str, Any]) -> str:
    """Return a table: its header, then a line for each value."""
    return "\n".join([header, *(f"{_key(key)} = {toml_value(value)}" for key, value in values.items())])


def _key(key: str) -> str:
    is_bare = bool(key) and key.isascii() and all(c.isalnum() or c in "-_" for c in key)
    return key if is_bare else toml_value(key)
