"""The server: listens, serves the models' services beside health and reflection, drains."""

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bellhousing.access import Access
from bellhousing.backend import Backend
from bellhousing.config import Config, TlsConfig, is_loopback
from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.events import Progress
from bellhousing.hookspecs import EngineEvent
from bellhousing.load import loads_of
from bellhousing.models import Models, ServedModel, Watchers
from bellhousing.plugins import Plugins
from bellhousing.services import AdminService, DiscoveryService, InferenceService
from bellhousing.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    discovery_pb2,
    discovery_pb2_grpc,
    inference_pb2,
    inference_pb2_grpc,
)

logger = logging.getLogger(__name__)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = tuple(
    descriptor.services_by_name[name].full_name
    for descriptor, name in (
        (inference_pb2.DESCRIPTOR, "Inference"),
        (discovery_pb2.DESCRIPTOR, "Discovery"),
        (admin_pb2.DESCRIPTOR, "Admin"),
    )
)
STOP_SECONDS = 2.0
"""How long calls that were ended may take to leave before the connection is cut."""


class Server:
    """One server process's worth of models. `start`, then `run` until drained, or `stop`.

    `backends` are classes to use by name beside the installed ones.
    """

    def __init__(
        self, config: Config, plugins: Plugins, *, backends: Mapping[str, type[Backend]] | None = None
    ) -> None:
        self.config = config
        watchers = Watchers(self._engine_changed, plugins.adapter_changed, plugins.adapters_thrash)
        self.models = Models(config.models, watchers, backends or {}, config.adapters)
        self.address = ""
        self.loading: list[asyncio.Task[None]] = []
        self._plugins = plugins
        self._health = health.aio.HealthServicer()
        self._watchers: list[Callable[[EngineEvent], None]] = []
        self._progress: list[Callable[[str, Progress], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._drained = asyncio.Event()
        self._has_stopped = False
        self._drain_task: asyncio.Task[None] | None = None
        self._grpc: grpc.aio.Server | None = None

    def watch_state(self, callback: Callable[[EngineEvent], None]) -> None:
        """Call `callback` whenever a model's engine changes state."""
        self._watchers.append(callback)

    def watch_progress(self, callback: Callable[[str, Progress], None]) -> None:
        """Call `callback` with a model's name and each step of its loading; it may come from another thread."""
        self._progress.append(callback)

    async def start(self) -> None:
        """Listen, and begin to load the models. Raises `ConfigurationError`, for a port in use as well."""
        self._plugins.configure(self.config)
        self._grpc = self._build()
        await self._grpc.start()
        self._plugins.server_started(functools.partial(loads_of, self.models))
        self.loading = [self._spawn(self._load(model)) for model in self.models if model.config.load_on_start]

    async def run(self) -> None:
        """Serve until drained. Raises what a model that should load at the start could not do."""
        loads, drained = self._spawn(self.wait_serving()), self._spawn(self._wait_drained())
        try:
            await asyncio.wait({loads, drained}, return_when=asyncio.FIRST_EXCEPTION)
            if loads.done() and not self._drained.is_set():
                loads.result()
            await drained
        finally:
            for task in (loads, drained):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, BellhousingError):
                    await task

    async def _wait_drained(self) -> None:
        await self._drained.wait()

    async def wait_serving(self) -> None:
        """Return when every model that loads at the start serves. Raises the first one's error."""
        await asyncio.gather(*self.loading)

    def begin_drain(self, grace_seconds: float | None = None) -> int:
        """Take nothing new and finish what runs, for at most the grace; return the requests in flight."""
        in_flight = sum(len(model.in_flight) for model in self.models)
        if self._drain_task is None:
            grace = self.config.server.grace_seconds if grace_seconds is None else grace_seconds
            for model in self.models:
                model.drain()
            self._drain_task = self._spawn(self._finish_drain(grace))
        return in_flight

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Drain and return when it is done; `run` returns then too."""
        self.begin_drain(grace_seconds)
        await self._drained.wait()

    async def stop(self) -> None:
        """End everything at once: requests with UNAVAILABLE, engines, the port. Safe to call twice."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for model in self.models:
            await model.unload(0)
        if self._grpc:
            await self._grpc.stop(STOP_SECONDS)
        await self.models.close()
        self._drained.set()
        if not self._has_stopped:
            self._has_stopped = True
            self._plugins.server_stopped()

    async def _finish_drain(self, grace_seconds: float) -> None:
        await self._health.enter_graceful_shutdown()
        try:
            await asyncio.gather(*(model.unload(grace_seconds) for model in self.models))
            if self._grpc:
                await self._grpc.stop(STOP_SECONDS)
            await self.models.close()
        finally:
            self._drained.set()

    def _build(self) -> grpc.aio.Server:
        config, access = self.config, Access(self.config.auth)
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", config.server.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # A burst must reach admission, which refuses with a status that tells when to come back.
                ("grpc.server.max_pending_requests", 20_000),
                ("grpc.server.max_pending_requests_hard_limit", 40_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        inference_pb2_grpc.add_InferenceServicer_to_server(InferenceService(self.models, access, self._plugins), server)
        discovery_pb2_grpc.add_DiscoveryServicer_to_server(DiscoveryService(self.models, access), server)
        admin = AdminService(self.models, access, self._drain_by_call, config.server.grace_seconds)
        admin_pb2_grpc.add_AdminServicer_to_server(admin, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if config.server.reflection and (is_loopback(config.server.host) or not config.auth.tokens):
            names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        self._plugins.add_services(server, config)
        self.address = self._bind(server)
        return server

    def _bind(self, server: grpc.aio.Server) -> str:
        settings = self.config.server
        host = (
            f"[{settings.host}]"
            if ":" in settings.host and not settings.host.startswith(("[", "unix:"))
            else settings.host
        )
        wanted = host if host.startswith("unix:") else f"{host}:{settings.port}"
        _refuse_port_in_use(settings.host, settings.port)
        try:
            if settings.tls:
                port = server.add_secure_port(wanted, _credentials(settings.tls))
            else:
                port = server.add_insecure_port(wanted)
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen on {wanted}: {error}", reason="CANNOT_LISTEN") from error
        return wanted if host.startswith("unix:") else f"{host}:{port}"

    async def _load(self, model: ServedModel) -> None:
        def report(progress: Progress) -> None:
            for callback in self._progress:
                callback(model.name, progress)

        await model.load(report)

    async def _drain_by_call(self, grace_seconds: float | None) -> int:
        return self.begin_drain(grace_seconds)

    def _engine_changed(self, event: EngineEvent) -> None:
        self._plugins.engine_changed(event)
        for callback in self._watchers:
            callback(event)
        self._spawn(self._publish_health(event))

    async def _publish_health(self, event: EngineEvent) -> None:
        await self._health.set(event.model, SERVING if event.state == "serving" else NOT_SERVING)
        whole = SERVING if all(m.state == "serving" for m in self.models if m.config.load_on_start) else NOT_SERVING
        for name in ("", *SERVICES):
            await self._health.set(name, whole)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _refuse_port_in_use(host: str, port: int) -> None:
    """Raise `ConfigurationError` when another socket listens: gRPC's own message does not say so."""
    if port == 0 or host.startswith("unix:"):
        return
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                reason="PORT_IN_USE",
                hint="Choose another with --port, or 0 for a free one.",
            ) from error


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    client_ca = _pem(tls.client_ca) if tls.client_ca else None
    return grpc.ssl_server_credentials(
        [(_pem(tls.key), _pem(tls.certificate))], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"certificate file {str(path)!r}: expected a PEM file, found {error.strerror}"
        ) from error
