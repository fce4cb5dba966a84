"""The hooks of a plugin. Each docstring says when it fires.

A plugin is any object or module with functions of these names, marked with `hookimpl` and registered in the entry point
group `bellhousing.plugins`. Nothing else of core touches pluggy: it calls `Plugins`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pluggy

if TYPE_CHECKING:
    import grpc.aio
    import typer

    from bellhousing.config import Config
    from bellhousing.load import Loads
    from bellhousing.migration import Origin
    from bellhousing.timeline import Timeline

PROJECT = "bellhousing"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

AdapterChange = Literal["loaded", "load_failed", "evicted", "unloaded"]
"""`evicted` made room for another adapter; `unloaded` was asked for."""


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One line of `bellhousing doctor`: what was looked at, how it is, and how to mend it when it is wrong."""

    subject: str
    verdict: Literal["ok", "warning", "wrong"]
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """A change in the life of a model's engine."""

    model: str
    backend: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AdapterEvent:
    """An adapter came to the device or left it, or its load failed; `seconds` is how long a load took."""

    model: str
    backend: str
    adapter: str
    change: AdapterChange
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ThrashEvent:
    """So many adapters were loaded within a minute that had been evicted within the minute before."""

    model: str
    backend: str
    reloads: int
    slots: int


@hookspec
def bellhousing_commands(app: typer.Typer) -> None:
    """Add commands to the command line. Fires once, before the arguments are parsed."""


@hookspec
def bellhousing_doctor() -> Iterable[DoctorFinding]:  # type: ignore[empty-body]
    """Report on what a backend or plugin needs. Fires when a person runs `bellhousing doctor`; may take a second."""


@hookspec
def bellhousing_migrations() -> Iterable[Origin]:  # type: ignore[empty-body]
    """Offer servers whose launches can be read. Fires when a person runs `bellhousing migrate`; import no engine."""


@hookspec
def bellhousing_configure(config: Config) -> None:
    """See the configuration, and refuse it with `ConfigurationError`. Fires once, before any model is loaded."""


@hookspec
def bellhousing_add_services(server: grpc.aio.Server, config: Config) -> None:
    """Add gRPC services beside ours. Fires once, before the server listens."""


@hookspec
def bellhousing_server_started(loads: Loads) -> None:
    """Fires once when the server listens, before a model is loaded, in the server's event loop.

    `loads` may be awaited there at any time; it asks the engines, so call it no more than once a second.
    """


@hookspec
def bellhousing_server_stopped() -> None:
    """Let go of what you hold. Fires once when the server has ended, even one that never came to listen."""


@hookspec
def bellhousing_request_refused(timeline: Timeline) -> None:
    """Fires when a call for generation is refused before it is received; then nothing else fires for it.

    `timeline.code` and `timeline.reason` say why: the caller, the model's name or state, or the request itself. `model`
    and `backend` are empty when no such model is served, `tenant` when the caller is not known, `adapter` always.
    """


@hookspec
def bellhousing_request_received(timeline: Timeline) -> None:
    """Fires when a valid request for generation has arrived, before it queues."""


@hookspec
def bellhousing_request_dispatched(timeline: Timeline) -> None:
    """Fires when the request leaves the queue for the engine."""


@hookspec
def bellhousing_first_token(timeline: Timeline) -> None:
    """Fires when the engine's first token has arrived."""


@hookspec
def bellhousing_delta(timeline: Timeline, tokens: int, index: int) -> None:
    """Fires for each delta of sequence `index`, before it is delivered; `timeline.last_token` is when it came.

    Keep it short: it is on the path of every token.
    """


@hookspec
def bellhousing_request_finished(timeline: Timeline) -> None:
    """Fires once for each received request, however it ended: `timeline.code` and `timeline.reason` say how."""


@hookspec
def bellhousing_engine_changed(event: EngineEvent) -> None:
    """Fires when a model's engine changes state, such as SERVING to RESTARTING."""


@hookspec
def bellhousing_adapter_changed(event: AdapterEvent) -> None:
    """Fires when an adapter was loaded or could not be, was evicted or unloaded. Not when its engine ends."""


@hookspec
def bellhousing_adapters_thrash(event: ThrashEvent) -> None:
    """Fires at most once a minute while adapters that were just evicted are wanted back, once or more for each slot."""
