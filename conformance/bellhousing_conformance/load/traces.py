"""Traces of arrivals that others publish, read strictly: what is wrong in one is told with its line.

| format | file | times |
|---|---|---|
| `azure` | CSV: TIMESTAMP, ContextTokens, GeneratedTokens (Azure's public traces of 2023 and 2024) | dates |
| `mooncake`, `aiperf` | JSONL: timestamp, input_length, output_length, hash_ids, session_id, delay | milliseconds |
| `guidellm` | JSONL: timestamp, input_length, output_length | seconds |

The JSONL formats share their keys and differ in the unit, so that a JSONL file does not say which it is.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bellhousing.errors import ConfigurationError

BLOCK_TOKENS = 512
"""Tokens of a block of `hash_ids`, as Mooncake publishes them."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "timestamp": ("timestamp", "created_time"),
    "input": ("input_length", "input_tokens", "prompt_tokens"),
    "output": ("output_length", "output_tokens"),
    "delay": ("delay", "delay_ms"),
}
"""The keys of a JSONL row, each with the other names that writers of these formats use."""


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request of a trace. `seconds` count from the trace's first row.

    Rows of one `session` are its turns in order; a later one is sent `delay` seconds after the turn before has ended:
    as told, or else the difference of their times.
    Equal leading `blocks` mean equal beginnings of the prompts.
    """

    seconds: float
    prompt_tokens: int
    output_tokens: int
    session: str = ""
    delay: float | None = None
    blocks: tuple[int, ...] = ()


def read_trace(file: Path, format: str) -> list[TraceRow]:  # noqa: A002 - what the option is called
    """Return the rows of a trace. Raises `ConfigurationError` naming the file, the line, what was found and expected.

    Times must not be negative, and neither those of first turns nor those within a session go backwards.
    """
    if format not in READERS:
        raise ConfigurationError(f"trace format {format!r}: expected one of {', '.join(READERS)}")
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(_in_order(file, READERS[format](file, opened)))
    except OSError as error:
        raise ConfigurationError(f"trace {str(file)!r}: expected a file, found {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"trace {str(file)!r}: expected UTF-8, found {error.reason}") from error
    if not rows:
        raise ConfigurationError(f"trace {str(file)!r}: expected at least one request, found none")
    return rows


Numbered = Iterator[tuple[int, TraceRow]]


def _in_order(file: Path, rows: Numbered) -> Iterator[TraceRow]:
    """Yield the rows with times from the first one's, once they are seen to be in order."""
    first: float | None = None
    before = 0.0
    for number, row in rows:
        first = row.seconds if first is None else first
        at = row.seconds - first
        if row.delay is None:  # a later turn has its place by the turn before, whatever stands between
            if at < before:
                raise _fault(file, number, "time", f"at least {before:g} s after the first row", f"{at:g} s")
            before = at
        yield replace(row, seconds=at)


def _azure(file: Path, lines: Iterator[str]) -> Numbered:
    reader = csv.DictReader(lines)
    wanted = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    if missing := [name for name in wanted if name not in (reader.fieldnames or ())]:
        raise _fault(file, 1, "header", f"columns {', '.join(wanted)}", f"no {', '.join(missing)}")
    for row in reader:
        number = reader.line_num
        moment = _date(file, number, row["TIMESTAMP"])
        prompt, output = (_count(file, number, name, row[name]) for name in wanted[1:])
        yield number, TraceRow(moment, prompt, output)


def _date(file: Path, number: int, text: str | None) -> float:
    """Return a date as seconds; digits after the microsecond, which Azure writes, are cut."""
    head, point, tail = (text or "").partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    try:
        moment = datetime.fromisoformat(head + point + digits[:6].ljust(6, "0") * bool(point) + tail[len(digits) :])
    except ValueError as error:
        raise _fault(file, number, "TIMESTAMP", "a date such as 2023-11-16 18:15:46.68", repr(text)) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _jsonl(unit: float) -> Callable[[Path, Iterator[str]], Numbered]:
    """Return a reader of JSONL whose times are in this part of a second."""

    def read(file: Path, lines: Iterator[str]) -> Numbered:
        sent: dict[str, float] = {}
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _row(file, number, line, unit, sent)

    return read


def _row(file: Path, number: int, line: str, unit: float, sent: dict[str, float]) -> TraceRow:
    """Return a row; `sent` has the time of each session's turn before."""
    found = _object(file, number, line)
    session, stamp, wait = str(found.get("session_id") or ""), _value(found, "timestamp"), _value(found, "delay")
    is_later = session in sent
    delay: float | None
    if is_later and wait is not None:
        delay = _time(file, number, "delay", wait, unit)
        seconds = sent[session] + delay
    else:
        seconds = _time(file, number, "timestamp", stamp, unit)
        delay = seconds - sent[session] if is_later else None
        if delay is not None and delay < 0:
            before = f"at least {sent[session]:g} s, the time of the turn before"
            raise _fault(file, number, "timestamp", before, f"{seconds:g} s")
    if session:
        sent[session] = seconds
    blocks = found.get("hash_ids") or []
    if not (isinstance(blocks, list) and all(isinstance(block, int) for block in blocks)):
        raise _fault(file, number, "hash_ids", "a list of whole numbers", repr(blocks))
    prompt, output = (_count(file, number, name, _value(found, name)) for name in ("input", "output"))
    return TraceRow(seconds, prompt, output, session, delay, tuple(blocks))


def _object(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _fault(file, number, "line", "a JSON object", str(error)) from error
    if not isinstance(found, dict):
        raise _fault(file, number, "line", "a JSON object", type(found).__name__)
    return found


def _value(found: Mapping[str, Any], name: str) -> Any:
    return next((found[key] for key in ALIASES[name] if key in found), None)


def _time(file: Path, number: int, name: str, value: object, unit: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise _fault(file, number, name, "a number of at least 0", repr(value))
    return value * unit


def _count(file: Path, number: int, name: str, value: object) -> int:
    text = str(value).strip()
    if not text.isdecimal():
        raise _fault(file, number, name, "a whole number of tokens", repr(value))
    return int(text)


def _fault(file: Path, number: int, what: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(f"trace {str(file)!r}, line {number}: {what}: expected {expected}, found {found}")


READERS: Mapping[str, Callable[[Path, Iterator[str]], Numbered]] = {
    "azure": _azure,
    "mooncake": _jsonl(1e-3),
    "aiperf": _jsonl(1e-3),
    "guidellm": _jsonl(1.0),
}
