"""The commands, put together."""

import typer

from bellhousing_conformance.cli import proving, publishing, reports, running


def commands() -> typer.Typer:
    """Return the group of commands."""
    app = typer.Typer(no_args_is_help=True, help="Judge a server by the contract: black box, over gRPC.")
    for part in (running, reports, proving, publishing):
        part.add(app)
    return app
