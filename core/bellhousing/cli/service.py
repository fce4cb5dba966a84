"""A server in the foreground: its signals, what it tells, how it ends."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable

from bellhousing.cli import INTERRUPTED
from bellhousing.cli.progress import Display
from bellhousing.config import Config
from bellhousing.events import Progress
from bellhousing.hookspecs import EngineEvent
from bellhousing.plugins import Plugins
from bellhousing.server import Server


def run_service(config: Config, plugins: Plugins, display: Display, tell: Callable[[str], None]) -> int:
    """Serve until drained, on uvloop where it is installed; return the exit code.

    The first SIGTERM or SIGINT drains, or ends the loading; the second ends everything at once. Raises what
    `Server.start` raises, and what a model that loads at the start raises.
    """
    loop_factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_Service(config, plugins, display, tell).run())


class _Service:
    def __init__(self, config: Config, plugins: Plugins, display: Display, tell: Callable[[str], None]) -> None:
        self._server = Server(config, plugins)
        self._grace = config.server.grace_seconds
        self._display = display
        self._tell = tell
        self._began: dict[str, float] = {}
        self._signals = 0
        self._serving: asyncio.Task[None] | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        self._server.watch_progress(self._on_progress)
        self._server.watch_state(self._on_state)
        self._serving = asyncio.ensure_future(self._until_drained())
        try:
            await self._serving
        except asyncio.CancelledError:
            return INTERRUPTED if self._signals > 1 else 0
        finally:
            await self._server.stop()
        return 0

    async def _until_drained(self) -> None:
        await self._server.start()
        await self._server.run()

    def _on_signal(self) -> None:
        self._signals += 1
        is_serving = any(model.state == "serving" for model in self._server.models)
        if self._signals == 1 and is_serving:
            self._tell(f"draining: requests in flight have {self._grace:g} s to finish; again to stop at once")
            self._server.begin_drain()
        elif self._serving:
            self._tell("stopping")
            self._serving.cancel()

    def _on_progress(self, model: str, step: Progress) -> None:
        self._began.setdefault(model, time.monotonic())
        self._display.update(model, step)

    def _on_state(self, event: EngineEvent) -> None:
        if event.state in ("loading", "restarting"):
            self._began.setdefault(event.model, time.monotonic())
        else:
            self._display.done(event.model)
        if event.state == "serving":
            self._tell(self._serving_line(event))
        elif event.state == "restarting":
            self._tell(f"model {event.model!r} is restarting: {event.detail}")

    def _serving_line(self, event: EngineEvent) -> str:
        info, now = self._server.models.find(event.model).info, time.monotonic()
        return (
            f"serving {event.model!r} at {self._server.address}: {event.backend} ({info.engine} {info.engine_version}),"
            f" context {info.context_length} tokens, {info.max_running} requests at once,"
            f" loaded in {now - self._began.pop(event.model, now):.1f} s"
        )
