"""The command line. Everything is built here and passed down; nothing else holds state of its own."""

import sys

import typer

from bellhousing.cli import chat, doctor, generate, inspection, operation, scaffold, serve
from bellhousing.cli.output import fail
from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.plugins import Plugins

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130


def build(plugins: Plugins) -> typer.Typer:
    """Return the application with every command, those of plugins included."""
    app = typer.Typer(
        name="bellhousing",
        help="One gRPC contract for every LLM engine: serve a model, talk to it, look at what it does.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for part in (serve, generate, chat, inspection, operation, doctor, scaffold):
        part.add(app, plugins)
    plugins.commands(app)
    return app


def main() -> None:
    """Run a command. Exit codes: 0 well, 1 it failed, 2 wrong usage, settings or files, 130 interrupted."""
    try:
        build(Plugins.installed())()
    except ConfigurationError as error:
        fail(error)
        sys.exit(USAGE_ERROR)
    except BellhousingError as error:
        fail(error)
        sys.exit(FAILURE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
