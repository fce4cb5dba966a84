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

from bellhousing.errors import BellhousingError

stdout = Console()
stderr = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def fail(error: BellhousingError) -> None:
    """Print an error as one paragraph on standard error."""
    stderr.print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False)
    if error.retry_after is not None:
        stderr.print(f"Try again in {error.retry_after:.1f} s.", highlight=False)


def say(text: str) -> None:
    """Print a line for a person on standard error, so that standard output holds results alone."""
    stderr.print(_escaped(text), highlight=False)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def as_json(message: Message) -> object:
    """Return a message as plain values, with the contract's own field names."""
    return MessageToDict(message, preserving_proto_field_name=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_escaped(cell) for cell in row))
    stdout.print(table)


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
