"""Typed access to plugins: the only module that touches pluggy's manager."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pluggy

from bellhousing import hookspecs
from bellhousing.hookspecs import AdapterEvent, DoctorFinding, EngineEvent, ThrashEvent
from bellhousing.timeline import Timeline

if TYPE_CHECKING:
    import grpc.aio
    import typer

    from bellhousing.config import Config
    from bellhousing.load import Loads
    from bellhousing.migration import Origin

GROUP = "bellhousing.plugins"
DeltaObserver = Callable[[Timeline, int, int], object]
"""Takes what `bellhousing_delta` does, by place."""

OBSERVER_FAILED = "a plugin failed while observing; the request goes on"
logger = logging.getLogger(__name__)


class Plugins:
    """The plugins in use. Build one in the command line or a test and pass it down.

    Observers (everything that takes a `Timeline` or an event) can never harm a request: what they raise is logged.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._delta_observers: tuple[DeltaObserver, ...] = ()

    @classmethod
    def installed(cls) -> "Plugins":
        """Return the plugins of all installed distributions; one that cannot be imported is logged and left out."""
        plugins = cls()
        for name, load in _entry_points():
            try:
                plugins.register(load(), name=name)
            except Exception:
                logger.exception("plugin %r cannot be loaded and is left out", name)
        return plugins

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin. Raises `ValueError` when the name is taken or a hook's arguments do not fit."""
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise ValueError(f"plugin {name or plugin!r}: {error}") from error
        self._delta_observers = _delta_observers(self._manager.hook.bellhousing_delta)

    @property
    def has_delta_observers(self) -> bool:
        """Tell whether any plugin looks at deltas."""
        return bool(self._delta_observers)

    def names(self) -> list[str]:
        """Return the names of the registered plugins, sorted."""
        return sorted(name for name, _ in self._manager.list_name_plugin())

    def commands(self, app: "typer.Typer") -> None:
        """Let plugins add commands."""
        self._manager.hook.bellhousing_commands(app=app)

    def doctor(self) -> Iterator[DoctorFinding]:
        """Yield every plugin's findings."""
        for findings in self._manager.hook.bellhousing_doctor():
            yield from findings

    def migrations(self) -> "Iterator[Origin]":
        """Yield the servers that can be migrated from."""
        for origins in self._manager.hook.bellhousing_migrations():
            yield from origins

    def configure(self, config: "Config") -> None:
        """Show plugins the configuration. Raises what they raise."""
        self._manager.hook.bellhousing_configure(config=config)

    def add_services(self, server: "grpc.aio.Server", config: "Config") -> None:
        """Let plugins add gRPC services."""
        self._manager.hook.bellhousing_add_services(server=server, config=config)

    def server_started(self, loads: "Loads") -> None:
        """Tell observers that the server listens, and how to ask for its load."""
        self._observe(self._manager.hook.bellhousing_server_started, loads=loads)

    def server_stopped(self) -> None:
        """Tell observers that the server has ended."""
        self._observe(self._manager.hook.bellhousing_server_stopped)

    def request_refused(self, timeline: Timeline) -> None:
        """Tell observers of a request that was refused before it was received."""
        self._observe(self._manager.hook.bellhousing_request_refused, timeline=timeline)

    def request_received(self, timeline: Timeline) -> None:
        """Tell observers that a request arrived."""
        self._observe(self._manager.hook.bellhousing_request_received, timeline=timeline)

    def request_dispatched(self, timeline: Timeline) -> None:
        """Tell observers that a request went to its engine."""
        self._observe(self._manager.hook.bellhousing_request_dispatched, timeline=timeline)

    def first_token(self, timeline: Timeline) -> None:
        """Tell observers of the first token."""
        self._observe(self._manager.hook.bellhousing_first_token, timeline=timeline)

    def delta(self, timeline: Timeline, tokens: int, index: int) -> None:
        """Tell observers of a delta. Call it only when `has_delta_observers`."""
        try:
            for observe in self._delta_observers:
                observe(timeline, tokens, index)
        except Exception:
            logger.exception(OBSERVER_FAILED)

    def request_finished(self, timeline: Timeline) -> None:
        """Tell observers how a request ended."""
        self._observe(self._manager.hook.bellhousing_request_finished, timeline=timeline)

    def engine_changed(self, event: EngineEvent) -> None:
        """Tell observers of a change in an engine's life."""
        self._observe(self._manager.hook.bellhousing_engine_changed, event=event)

    def adapter_changed(self, event: AdapterEvent) -> None:
        """Tell observers that an adapter came or went."""
        self._observe(self._manager.hook.bellhousing_adapter_changed, event=event)

    def adapters_thrash(self, event: ThrashEvent) -> None:
        """Tell observers that time goes into loading adapters again and again."""
        self._observe(self._manager.hook.bellhousing_adapters_thrash, event=event)

    def _observe(self, hook: Callable[..., Any], **arguments: object) -> None:
        try:
            hook(**arguments)
        except Exception:
            logger.exception(OBSERVER_FAILED)


def _delta_observers(hook: pluggy.HookCaller) -> tuple[DeltaObserver, ...]:
    """Return the implementations of `bellhousing_delta` in the order in which pluggy calls them.

    It fires for every token, and pluggy's own call takes longer than what most observers do.
    """
    implementations = hook.get_hookimpls()
    if any(each.wrapper or each.hookwrapper for each in implementations):  # only pluggy runs what stands around others
        return (lambda timeline, tokens, index: hook(timeline=timeline, tokens=tokens, index=index),)
    return tuple([_by_place(each) for each in reversed(implementations)])


def _by_place(implementation: pluggy.HookImpl) -> DeltaObserver:
    """Return an implementation that takes its arguments by place, whichever of them it names."""
    function, names = implementation.function, implementation.argnames
    if names == ("timeline", "tokens", "index"):
        return function

    def observe(timeline: Timeline, tokens: int, index: int) -> object:
        told = {"timeline": timeline, "tokens": tokens, "index": index}
        return function(*[told[name] for name in names])

    return observe


def _entry_points() -> Iterator[tuple[str, Callable[[], object]]]:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        yield point.name, point.load
