"""`bellhousing load`, `unload` and `drain`: what an operator does to a running server."""

from typing import Annotated

import typer

from bellhousing.cli import connect
from bellhousing.cli.connect import Connection
from bellhousing.cli.output import say
from bellhousing.client.connection import DEFAULT_ADDRESS
from bellhousing.plugins import Plugins

Name = Annotated[str, typer.Argument(help="The model's name.")]


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the commands."""

    @app.command()
    def load(
        name: Name, address: connect.Address = DEFAULT_ADDRESS, ca: connect.Ca = None, token: connect.Token = ""
    ) -> None:
        """Load a configured model, with progress."""
        with Connection(address, ca=ca, token=token).client() as client:
            for message in client.load_model(name):
                if message.HasField("loaded"):
                    say(f"{name}: serving after {message.loaded.elapsed.ToNanoseconds() / 1e9:.1f} s")
                else:
                    say(f"{name}: {message.progress.stage} {message.progress.done}/{message.progress.total}")

    @app.command()
    def unload(
        name: Name, address: connect.Address = DEFAULT_ADDRESS, ca: connect.Ca = None, token: connect.Token = ""
    ) -> None:
        """Unload a model once its requests have finished."""
        with Connection(address, ca=ca, token=token).client() as client:
            for message in client.unload_model(name):
                if message.HasField("unloaded"):
                    say(f"{name}: unloaded, {message.unloaded.ended_requests} requests were ended")

    @app.command()
    def drain(address: connect.Address = DEFAULT_ADDRESS, ca: connect.Ca = None, token: connect.Token = "") -> None:
        """Drain a server: it takes nothing new, finishes what runs, and exits."""
        with Connection(address, ca=ca, token=token).client() as client:
            say(f"draining, {client.drain()} requests in flight")
