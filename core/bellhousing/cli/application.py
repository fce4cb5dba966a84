"""The commands, put together. Everything is built here and passed down; nothing else holds state of its own."""

from typing import Annotated

import typer

from bellhousing import __version__
from bellhousing.cli import adapters, chat, doctor, generate, inspection, migrate, new_backend, operation, serve, tune
from bellhousing.cli.output import WRONG, exit_code, fail
from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.plugins import Plugins


def build(plugins: Plugins) -> typer.Typer:
    """Return the application with every command, those of plugins included."""
    app = typer.Typer(
        name="bellhousing",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",  # the other one takes brackets for markup
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for part in (serve, generate, chat, inspection, operation, adapters, tune, migrate, doctor, new_backend):
        part.add(app, plugins)
    plugins.commands(app)
    return app


def run() -> int:
    """Run the command of this process; return the exit code where the command has not exited by itself."""
    try:
        build(Plugins.installed())()
    except BellhousingError as error:
        fail(error)
        return exit_code(error)
    except UnicodeEncodeError:
        fail(ConfigurationError("the arguments of the command: expected UTF-8, found bytes that are not"))
        return WRONG
    return 0


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One gRPC contract for every LLM engine: serve a model, talk to it, look at what it does."""
