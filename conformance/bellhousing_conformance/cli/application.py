"""The commands, put together."""

import typer

from bellhousing_conformance.cli import (
    comparing,
    goodput,
    loading,
    performing,
    proving,
    publishing,
    reports,
    running,
)

HELP = """Judge a server by the contract: black box, over gRPC.

Examples:

bellhousing conformance run --target 127.0.0.1:50051 --tier smoke

bellhousing conformance run --start simulator --profile core,stop
"""


def commands() -> typer.Typer:
    """Return the group of commands."""
    app = typer.Typer(no_args_is_help=True, help=HELP)
    for part in (running, reports, proving, publishing, loading, goodput, comparing, performing):
        part.add(app)
    return app
