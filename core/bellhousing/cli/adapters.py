"""`bellhousing adapters …`: the registry of a running server and what is on its device."""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.filesize import decimal
from rich.live import Live
from typer import Argument, Option

from bellhousing.adapters import AdapterState
from bellhousing.cli.connect import Connection, Model
from bellhousing.cli.output import FAILED, Json, as_json, print_json, print_table, say, stdout, table
from bellhousing.cli.spread import spread
from bellhousing.client import Client
from bellhousing.errors import ConfigurationError
from bellhousing.plugins import Plugins
from bellhousing.v1 import admin_pb2 as pb
from bellhousing.v1 import discovery_pb2

COLUMNS = ("adapter", "state", "rank", "size", "tenant", "tags", "pinned", "loads", "digest")
TOP_COLUMNS = ("adapter", "state", "running", "loads", "last used", "size", "pinned", "replicas")
SHOWN_DIGEST = len("sha256:") + 12
TOP_SECONDS, RESTING_SECONDS = 1.0, 10.0
STIRRING = (pb.ADAPTER_STATE_FETCHING, pb.ADAPTER_STATE_DEVICE, pb.ADAPTER_STATE_FAILED)
MINUTE, HOUR, DAY = 60, 3600, 86_400

Name = Annotated[str, Argument(help="The adapter's name.", show_default=False)]
Tag = Annotated[list[str] | None, Option("--tag", help="Tag; may be repeated.", metavar="TAG")]
Tenant = Annotated[str, Option("--owner", help="Tenant it belongs to; by default every tenant may use it.")]
Pinned = Annotated[bool, Option("--pin", help="Never evict it once it is loaded.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which adapters, as flags."""

    prefix: Annotated[str, Option(help="Only names that begin with this.")] = ""
    state: Annotated[
        list[str] | None, Option(help="Only this state: registered, fetching, host, device or failed.")
    ] = None
    owner: Annotated[str, Option(help="Only adapters of this tenant.")] = ""
    tag: Tag = None
    base: Annotated[str, Option(help="Only adapters made for this base model, as their configuration names it.")] = ""

    def of(self, client: Client, model: str) -> Iterator[pb.Adapter]:
        """Yield them. Raises `ConfigurationError` for a state that there is not."""
        states = [_state_value(state) for state in self.state or ()]
        return client.adapters(
            model=model,
            name_prefix=self.prefix,
            states=states,
            tenant=self.owner,
            tags=self.tag or (),
            base_model=self.base,
        )


def add(app: typer.Typer, _plugins: Plugins) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Register adapters (LoRA) with a running server, look at them, move them.\n\n"
        "Example: `bellhousing adapters add poet file:///srv/adapters/poet`",
    )
    for name, command in (
        ("add", add_adapter), ("list", list_adapters), ("show", show), ("load", load), ("unload", unload), ("pin", pin),
        ("remove", remove), ("import", import_directory), ("top", top),
    ):  # fmt: skip
        group.command(name)(spread(command))
    app.add_typer(group, name="adapters")


def add_adapter(
    name: Name,
    source: Annotated[str, Argument(help="file:///path, a path of this machine, hf://org/name, s3://bucket/path, …")],
    connection: Connection,
    model: Model = "",
    owner: Tenant = "",
    tag: Tag = None,
    pinned: Pinned = False,
    digest: Annotated[str, Option(help="Refuse other weights than those with this digest, `sha256:…`.")] = "",
    as_lines: Json = False,
) -> None:
    """Register an adapter. Nothing is loaded yet.

    The same name, source and owner again is fine: tags given replace those known, `--pin` is set, and it belongs to the
    model that is served now.

    The server must allow the source: `adapter_roots` and `adapter_sources` of its configuration.

    Example: `bellhousing adapters add poet file:///srv/adapters/poet --tag team=docs --owner acme`
    """
    with connection.client() as client:
        added = client.register_adapter(
            name, _uri(source), model=model, expected_digest=digest, tenant=owner, tags=tag or (), pinned=pinned
        )
    _show(added, as_lines=as_lines)


def list_adapters(wanted: Wanted, connection: Connection, model: Model = "", as_lines: Json = False) -> None:
    """List registered adapters by name. With `--json` one line each.

    Example: `bellhousing adapters list --state device --tag team=docs`
    """
    with connection.client() as client:
        found = wanted.of(client, model)
        if as_lines:
            for adapter in found:
                print_json(as_json(adapter))
        else:
            print_table(COLUMNS, [_row(adapter) for adapter in found])


def show(name: Name, connection: Connection, model: Model = "", as_lines: Json = False) -> None:
    """Show all that is known of an adapter.

    Example: `bellhousing adapters show poet`
    """
    with connection.client() as client:
        _show(client.adapter(name, model=model), as_lines=as_lines)


def load(name: Name, connection: Connection, model: Model = "", as_lines: Json = False) -> None:
    """Bring an adapter onto the device, so that its first request need not wait.

    Example: `bellhousing adapters load poet`
    """
    with connection.client() as client:
        began = time.monotonic()
        loaded = client.load_adapter(name, model=model)
    if as_lines:
        print_json(as_json(loaded))
    else:
        say(f"{name} is on the device after {time.monotonic() - began:.2f} s")


def unload(name: Name, connection: Connection, model: Model = "") -> None:
    """Take an adapter off the device; it stays registered. Refused while requests use it.

    Example: `bellhousing adapters unload poet`
    """
    with connection.client() as client:
        client.unload_adapter(name, model=model)
    say(f"{name} is off the device")


def pin(
    name: Name,
    connection: Connection,
    model: Model = "",
    off: Annotated[bool, Option("--off", help="Free it to be evicted again.")] = False,
    as_lines: Json = False,
) -> None:
    """Keep an adapter on the device once it is there; `--off` frees it. It is remembered over restarts.

    Example: `bellhousing adapters pin poet`
    """
    with connection.client() as client:
        pinned = client.pin_adapter(name, model=model, pinned=not off)
    if as_lines:
        print_json(as_json(pinned))
    else:
        say(f"{name} is {'pinned' if pinned.pinned else 'free to be evicted'}")


def remove(
    name: Name,
    connection: Connection,
    model: Model = "",
    missing_ok: Annotated[bool, Option("--missing-ok", help="It is no error when there is none.")] = False,
) -> None:
    """Take an adapter off the device and forget it. Refused while requests use it; its files stay.

    Example: `bellhousing adapters remove poet`
    """
    with connection.client() as client:
        client.unload_adapter(name, model=model, forget=True, allow_missing=missing_ok)
    say(f"{name} is removed")


def import_directory(
    directory: Annotated[str, Argument(help="A directory on the server's machine with one directory an adapter.")],
    connection: Connection,
    model: Model = "",
    prefix: Annotated[str, Option(help="What each name begins with.")] = "",
    owner: Tenant = "",
    tag: Tag = None,
    pinned: Pinned = False,
    as_lines: Json = False,
) -> None:
    """Register every adapter directly below a directory. Exit code 1 when one was refused; the others are registered.

    Example: `bellhousing adapters import file:///srv/adapters --prefix acme/`
    """
    done = pb.ImportDone()
    with connection.client() as client:
        for message in client.import_adapters(
            _uri(directory), model=model, name_prefix=prefix, tenant=owner, tags=tag or (), pinned=pinned
        ):
            if as_lines:
                print_json(as_json(message))
            elif message.HasField("refused"):
                say(f"{message.refused.name}: {message.refused.message}")
            done = message.done
    if not as_lines:
        say(f"{done.registered} adapters are registered, {done.refused} were refused")
    if done.refused:
        raise typer.Exit(FAILED)


def top(
    connection: Connection,
    model: Model = "",
    rows: Annotated[int, Option("--rows", "-n", help="Most adapters shown.", min=1)] = 30,
    once: Annotated[bool, Option("--once", help="Show it once.")] = False,
    as_lines: Json = False,
) -> None:
    """Show the adapters on the device and those used last, every second, until Ctrl-C.

    Those that are not on the device nor on their way are asked for every ten seconds.

    Example: `bellhousing adapters top`
    """
    with connection.client() as client, _display(as_lines=as_lines) as display:
        shown = _Shown(client, model, rows)
        while True:
            load = client.load(model)
            display(load, shown.latest())
            if once:
                return
            time.sleep(TOP_SECONDS)


class _Shown:
    """The adapters that `top` shows, at most `rows`. Of thousands most rest: those are asked for seldom."""

    def __init__(self, client: Client, model: str, rows: int) -> None:
        self._client = client
        self._model = model
        self._rows = rows
        self._resting: list[pb.Adapter] = []
        self._due = 0.0

    def latest(self) -> list[pb.Adapter]:
        """Return those on the device first, and then by their latest use."""
        if time.monotonic() >= self._due:
            everything = (each for each in self._client.adapters(model=self._model) if each.state not in STIRRING)
            self._resting = heapq.nlargest(self._rows, everything, key=_activity)
            self._due = time.monotonic() + RESTING_SECONDS
        found = {each.name: each for each in self._resting}
        found |= {each.name: each for each in self._client.adapters(model=self._model, states=STIRRING)}
        return heapq.nlargest(self._rows, found.values(), key=_activity)


@contextmanager
def _display(*, as_lines: bool) -> Iterator[Callable[[discovery_pb2.Load, list[pb.Adapter]], None]]:
    """Yield what shows a snapshot; in a terminal, each in the place of the one before."""
    if as_lines:
        yield lambda load, found: print_json({"load": as_json(load), "adapters": [as_json(each) for each in found]})
        return
    if not stdout.is_terminal:

        def append(load: discovery_pb2.Load, found: list[pb.Adapter]) -> None:
            say(_head(load))
            print_table(TOP_COLUMNS, [_top_row(adapter) for adapter in found])

        yield append
        return
    with Live(console=stdout, auto_refresh=False, screen=True) as live:

        def replace(load: discovery_pb2.Load, found: list[pb.Adapter]) -> None:
            shown = table(TOP_COLUMNS, [_top_row(adapter) for adapter in found])
            shown.title, shown.title_justify = _head(load), "left"
            live.update(shown, refresh=True)

        yield replace


def _head(load: discovery_pb2.Load) -> str:
    waiting = ", ".join(load.waiting_adapters) or "none"
    return (
        f"{load.model}: {len(load.resident_adapters)} of {load.adapter_slots} on the device, waited for: {waiting};"
        f" {load.running} requests run, {load.queued} wait"
    )


def _activity(adapter: pb.Adapter) -> tuple[bool, int]:
    return adapter.state == pb.ADAPTER_STATE_DEVICE, adapter.last_used.ToNanoseconds()


def _show(adapter: pb.Adapter, *, as_lines: bool) -> None:
    told = as_json(adapter)
    if as_lines:
        print_json(told)
    else:
        told["state"] = _state(adapter)
        print_table(("field", "value"), [(name, _text(value)) for name, value in told.items()])


def _text(value: object) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)


def _row(adapter: pb.Adapter) -> tuple[str, ...]:
    return (
        adapter.name,
        _state(adapter),
        str(adapter.rank or ""),
        decimal(adapter.size_bytes) if adapter.size_bytes else "",
        adapter.tenant,
        ", ".join(adapter.tags),
        "yes" if adapter.pinned else "",
        str(adapter.load_count),
        adapter.digest[:SHOWN_DIGEST],
    )


def _top_row(adapter: pb.Adapter) -> tuple[str, ...]:
    return (
        adapter.name,
        _state(adapter),
        str(adapter.running),
        str(adapter.load_count),
        _ago(adapter),
        decimal(adapter.size_bytes) if adapter.size_bytes else "",
        "yes" if adapter.pinned else "",
        str(len(adapter.replicas) or ""),
    )


def _ago(adapter: pb.Adapter) -> str:
    if not adapter.HasField("last_used"):
        return "never"
    seconds = max(0.0, time.time() - adapter.last_used.ToNanoseconds() / 1e9)
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _state(adapter: pb.Adapter) -> str:
    name = pb.AdapterState.Name(adapter.state).removeprefix("ADAPTER_STATE_").lower()
    return f"{name}: {adapter.state_detail}" if adapter.state_detail else name


def _state_value(name: str) -> pb.AdapterState:
    known = get_args(AdapterState)
    if name not in known:
        raise ConfigurationError(f"--state: expected one of {', '.join(known)}, found {name!r}")
    return pb.AdapterState.Value(f"ADAPTER_STATE_{name.upper()}")  # type: ignore[return-value, unused-ignore] # an int


def _uri(source: str) -> str:
    """Return a source as a URI: a plain path is one of this machine."""
    return source if "://" in source else Path(source).expanduser().absolute().as_uri()
