"""`bellhousing models`, `status`, `backends` and `version`."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.live import Live

from bellhousing import __version__, registry
from bellhousing.cli.connect import Connection
from bellhousing.cli.output import Json, as_json, print_json, print_table, stdout, table
from bellhousing.cli.spread import spread
from bellhousing.client import Client
from bellhousing.errors import BellhousingError
from bellhousing.plugins import Plugins
from bellhousing.v1 import discovery_pb2 as pb

MODEL_COLUMNS = ("model", "state", "backend", "engine", "context", "precision", "digest")
LOAD_COLUMNS = ("model", "state", "running", "queued", "tokens in flight", "KV cache", "drain/s")
BACKEND_COLUMNS = ("backend", "distribution", "version", "runs", "model file", "state")
WATCH_SECONDS = 1.0
SHOWN_DIGEST = len("sha256:") + 12


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the commands."""
    for command in (spread(models), spread(status), backends, version):
        app.command()(command)


def models(connection: Connection, as_lines: Json = False) -> None:
    """List a server's models. With `--json` also what each can do, with every parameter's range.

    Example: `bellhousing models --json`
    """
    with connection.client() as client:
        found = client.models()
    if as_lines:
        print_json([as_json(model) for model in found])
    else:
        print_table(MODEL_COLUMNS, [_model_row(model) for model in found])


def status(
    connection: Connection,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it every second, until Ctrl-C.")] = False,
    as_lines: Json = False,
) -> None:
    """Show how busy each model of a server is.

    Example: `bellhousing status --watch`
    """
    with connection.client() as client:
        _show_loads(_loads(client, watch=watch), as_lines=as_lines)


def backends(as_lines: Json = False) -> None:
    """List the installed backends, and whether each can be imported.

    Example: `bellhousing backends`
    """
    found = [_backend(backend) for backend in registry.installed()]
    if as_lines:
        print_json(found)
    else:
        print_table(BACKEND_COLUMNS, [_backend_row(backend) for backend in found])


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _loads(client: Client, *, watch: bool) -> Iterator[list[pb.Load]]:
    while True:
        yield [client.load(model.name) for model in client.models()]
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


def _show_loads(snapshots: Iterator[list[pb.Load]], *, as_lines: bool) -> None:
    """Show each snapshot; in a terminal, each in the place of the one before."""
    if as_lines:
        for loads in snapshots:
            print_json([as_json(load) for load in loads])
    elif not stdout.is_terminal:
        for loads in snapshots:
            print_table(LOAD_COLUMNS, [_load_row(load) for load in loads])
    else:
        with Live(console=stdout, auto_refresh=False) as live:
            for loads in snapshots:
                live.update(table(LOAD_COLUMNS, [_load_row(load) for load in loads]), refresh=True)


def _state(state: pb.ModelState, detail: str = "") -> str:
    name = pb.ModelState.Name(state).removeprefix("MODEL_STATE_").lower()
    return f"{name}: {detail}" if detail else name


def _model_row(model: pb.Model) -> tuple[str, ...]:
    return (
        model.name,
        _state(model.state, model.state_detail),
        f"{model.backend} {model.backend_version}",
        f"{model.engine} {model.engine_version}",
        str(model.context_length or ""),
        model.precision,
        model.model_digest[:SHOWN_DIGEST],
    )


def _load_row(load: pb.Load) -> tuple[str, ...]:
    return (
        load.model,
        _state(load.state),
        f"{load.running} of {load.max_running}",
        str(load.queued),
        str(load.tokens_in_flight),
        f"{load.kv_cache_usage:.0%}" if load.HasField("kv_cache_usage") else "unknown",
        f"{load.drain_rate:.2f}",
    )


def _backend(backend: registry.InstalledBackend) -> dict[str, object]:
    """Return what is known of a backend before it is started; `error` is empty when it can be imported."""
    found: dict[str, object] = {
        "backend": backend.name, "distribution": backend.distribution, "version": backend.version
    }  # fmt: skip
    try:
        loaded = registry.load(backend.name)
    except BellhousingError as error:
        return {**found, "isolation": None, "needs_model": None, "options": None, "error": error.message}
    options = loaded.Options.model_json_schema()
    return {**found, "isolation": loaded.isolation, "needs_model": loaded.needs_model, "options": options, "error": ""}


def _backend_row(found: dict[str, object]) -> tuple[str, ...]:
    runs = {"inline": "in the server", "process": "in its own process"}.get(str(found["isolation"]), "")
    needs = {True: "needed", False: "none"}.get(bool(found["needs_model"]), "") if not found["error"] else ""
    told = tuple(str(found[key]) for key in ("backend", "distribution", "version"))
    return (*told, runs, needs, str(found["error"] or "ok"))
