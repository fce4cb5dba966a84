"""`bellhousing new-backend`."""

from pathlib import Path
from typing import Annotated

import typer

from bellhousing.cli.output import say
from bellhousing.plugins import Plugins
from bellhousing.scaffold import write_backend


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the command."""

    @app.command("new-backend")
    def new_backend(
        name: Annotated[str, typer.Argument(help="Name of the backend: lower-case letters, digits and hyphens.")],
        directory: Annotated[
            Path | None, typer.Option(help="Where to write it; a new directory, by default ./bellhousing-NAME.")
        ] = None,
    ) -> None:
        """Write a working backend: a distribution with an echo engine and its tests, to be changed into yours.

        Example: `bellhousing new-backend my-engine`
        """
        target = write_backend(name, directory or Path(f"bellhousing-{name}"))
        say(f"Wrote {target}. Next:")
        say(f"  pip install -e {target} pytest pytest-asyncio")
        say(f"  pytest {target}")
        say(f"  bellhousing serve --backend {name}")
