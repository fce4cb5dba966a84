"""How commands speak: tables and progress for people, JSON for scripts, one paragraph for errors."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bellhousing.errors import (
    BellhousingError,
    Cancelled,
    DeadlineExceeded,
    EngineFault,
    EngineUnavailable,
    Overloaded,
    StreamBroken,
)

FAILED, WRONG = 1, 2
TRANSIENT = (EngineUnavailable, Overloaded, DeadlineExceeded, Cancelled, EngineFault, StreamBroken)
PIPE_WIDTH = 160

stdout = Console()
stderr = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def fail(error: BellhousingError) -> None:
    """Print an error as one paragraph on standard error."""
    message = Text.assemble(("error: ", "bold red"), " ".join(str(error).split()))
    if error.retry_after is not None:
        message.append(f" (try again in {error.retry_after:.1f} s)")
    stderr.print(message, highlight=False, soft_wrap=True)


def exit_code(error: BellhousingError) -> int:
    """Return 1 for a failure that may pass, 2 when the command, a file or a setting must change."""
    return FAILED if isinstance(error, TRANSIENT) else WRONG


def say(text: str) -> None:
    """Print a line for a person on standard error, so that standard output holds results alone."""
    stderr.print(Text(text), highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def as_json(message: Message) -> dict[str, object]:
    """Return a message as plain values with the contract's own field names; zeros and empty lists are there too."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of plain text."""
    result = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        result.add_column(column, overflow="fold")
    for row in rows:
        result.add_row(*(Text(cell) for cell in row))
    return result


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console = stdout) -> None:
    """Print a table of plain text, as wide as the terminal."""
    print_rows(table(columns, rows), console)


def print_rows(rows: Table, console: Console = stdout) -> None:
    """Print a table, as wide as the terminal."""
    wide = console if console.is_terminal else Console(width=PIPE_WIDTH, stderr=console.stderr)
    wide.print(rows)
