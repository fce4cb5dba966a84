"""`bellhousing models`, `status`, `backends` and `version`."""

import time
from typing import Annotated

import typer

from bellhousing import __version__, registry
from bellhousing.cli import connect
from bellhousing.cli.connect import Connection
from bellhousing.cli.output import Json, as_json, print_json, print_table
from bellhousing.client.connection import DEFAULT_ADDRESS
from bellhousing.errors import BellhousingError
from bellhousing.plugins import Plugins
from bellhousing.v1 import discovery_pb2 as pb


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the commands."""

    @app.command()
    def models(
        address: connect.Address = DEFAULT_ADDRESS,
        as_lines: Json = False,
        ca: connect.Ca = None,
        token: connect.Token = "",
    ) -> None:
        """List a server's models and what each can do (--json has everything)."""
        with Connection(address, ca=ca, token=token).client() as client:
            found = client.models()
        if as_lines:
            print_json([as_json(model) for model in found])
            return
        columns = ("model", "state", "backend", "engine", "precision", "context", "parameters")
        print_table("", columns, [_model_row(model) for model in found])

    @app.command()
    def status(
        address: connect.Address = DEFAULT_ADDRESS,
        watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every second.")] = False,
        as_lines: Json = False,
        ca: connect.Ca = None,
        token: connect.Token = "",
    ) -> None:
        """Show how busy each model of a server is."""
        with Connection(address, ca=ca, token=token).client() as client:
            while True:
                loads = [client.load(model.name) for model in client.models()]
                if as_lines:
                    print_json([as_json(load) for load in loads])
                else:
                    columns = ("model", "state", "running", "queued", "tokens in flight", "KV cache", "drain/s")
                    print_table("", columns, [_load_row(load) for load in loads])
                if not watch:
                    return
                time.sleep(1)

    @app.command()
    def backends(as_lines: Json = False) -> None:
        """List the installed backends."""
        rows = [_backend_row(backend) for backend in registry.installed()]
        columns = ("backend", "distribution", "version", "isolation", "state")
        if as_lines:
            print_json([dict(zip(columns, row, strict=True)) for row in rows])
        else:
            print_table("", columns, rows)

    @app.command()
    def version() -> None:
        """Print the version."""
        typer.echo(__version__)


def _model_row(model: pb.Model) -> tuple[str, ...]:
    return (
        model.name,
        pb.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower(),
        f"{model.backend} {model.backend_version}",
        f"{model.engine} {model.engine_version}",
        model.precision,
        str(model.context_length),
        str(len(model.capabilities.parameters)),
    )


def _load_row(load: pb.Load) -> tuple[str, ...]:
    return (
        load.model,
        pb.ModelState.Name(load.state).removeprefix("MODEL_STATE_").lower(),
        f"{load.running} of {load.max_running}",
        str(load.queued),
        str(load.tokens_in_flight),
        f"{load.kv_cache_usage:.0%}" if load.HasField("kv_cache_usage") else "unknown",
        f"{load.drain_rate:.2f}",
    )


def _backend_row(backend: registry.InstalledBackend) -> tuple[str, ...]:
    try:
        found = registry.load(backend.name)
    except BellhousingError as error:
        return (backend.name, backend.distribution, backend.version, "", error.message)
    return (backend.name, backend.distribution, backend.version, found.isolation, "ok")
