"""The entry point: `bellhousing conformance`. What a command needs is imported when it runs."""

import typer

from bellhousing.hookspecs import hookimpl


@hookimpl
def bellhousing_commands(app: typer.Typer) -> None:
    """Add the commands."""
    from bellhousing_conformance.cli import commands

    app.add_typer(commands(), name="conformance")
