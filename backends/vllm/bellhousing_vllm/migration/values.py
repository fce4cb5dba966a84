"""Values as vLLM's command line takes them."""

import json
import re
from typing import Any

from bellhousing_vllm.arguments import GIB

MULTIPLES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmgtKMGT])")


def count(text: str) -> int:
    """Return a number such as `8192`, `16k` (16,000) or `16K` (16,384). Raises `ValueError`."""
    found = NUMBER.fullmatch(text.strip())
    if not found:
        return int(text)
    number, unit = found.groups()
    return int(number) * MULTIPLES[unit] if unit.isupper() else int(float(number) * MULTIPLES[unit])


def gib(text: str) -> float:
    """Return bytes as GiB. Raises `ValueError`."""
    return count(text) / GIB


def table(text: str) -> dict[str, Any]:
    """Return an object of JSON. Raises `ValueError`."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("expected an object of JSON")  # noqa: TRY004 - a value of a flag, as any other wrong one
    return found


def nested(path: str, text: str) -> dict[str, Any]:
    """Return the object that a flag with a path, such as `--speculative-config.method ngram`, stands for."""
    value: Any
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)
