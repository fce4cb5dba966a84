"""`bellhousing load`, `unload` and `drain`: what an operator does to a running server."""

from typing import Annotated

import typer

from bellhousing.cli.connect import Connection
from bellhousing.cli.output import Json, as_json, print_json, say, stderr
from bellhousing.cli.progress import BarDisplay, LineDisplay
from bellhousing.cli.spread import spread
from bellhousing.events import Progress
from bellhousing.plugins import Plugins
from bellhousing.v1 import admin_pb2 as pb

Name = Annotated[str, typer.Argument(help="The model's name.")]


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the commands."""

    @app.command()
    @spread
    def load(name: Name, connection: Connection, as_lines: Json = False) -> None:
        """Load a configured model of a running server, with progress.

        Example: `bellhousing load smollm2 --server 127.0.0.1:50051`
        """
        display = BarDisplay(stderr) if stderr.is_terminal else LineDisplay(say)
        with connection.client() as client:
            try:
                for message in client.load_model(name):
                    if as_lines:
                        print_json(as_json(message))
                    elif message.HasField("progress"):
                        display.update(name, _step(message.progress))
                    else:
                        say(f"{name} serves after {message.loaded.elapsed.ToNanoseconds() / 1e9:.1f} s")
            finally:
                display.done(name)

    @app.command()
    @spread
    def unload(name: Name, connection: Connection, as_lines: Json = False) -> None:
        """Unload a model of a running server, once its requests have finished or its grace is over.

        Example: `bellhousing unload smollm2`
        """
        with connection.client() as client:
            for message in client.unload_model(name):
                if as_lines:
                    print_json(as_json(message))
                elif message.HasField("unloaded"):
                    say(f"{name} is unloaded; {message.unloaded.ended_requests} requests had to be ended")

    @app.command()
    @spread
    def drain(connection: Connection) -> None:
        """Drain a server: it takes nothing new, finishes what runs, and exits.

        Example: `bellhousing drain --server 127.0.0.1:50051`
        """
        with connection.client() as client:
            say(f"the server drains; {client.drain()} requests are in flight")


def _step(progress: pb.Progress) -> Progress:
    return Progress(progress.stage, progress.done, progress.total, progress.unit)
