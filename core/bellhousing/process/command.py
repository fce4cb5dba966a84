"""An engine that is a command of its own, such as an HTTP server: started, watched, and ended with all it started."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from bellhousing.errors import EngineUnavailable
from bellhousing.process.engine import STOP_SECONDS, EngineProcess

POLL_SECONDS = 0.05

logger = logging.getLogger(__name__)


class Command:
    """One run of a command, in a session and group of its own. What it wrote last is kept; see `EngineProcess`.

    Nothing of it outlives this process: neither the command nor what it started in its group, even after SIGKILL.
    `start` it once, `stop` it; a backend's `died` and `stop` call those here.
    """

    def __init__(self, model: str, command: Sequence[str], environment: Mapping[str, str], *, backend: str) -> None:
        self._model = model
        self._command = tuple(command)
        self._environment = dict(environment)
        self._backend = backend
        self._process: EngineProcess | None = None
        self._ended = asyncio.Event()
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """The id of the process and of its group; None while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, is_ready: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
        """Start the command and return once `is_ready` says so; it is asked again and again.

        Raises `EngineUnavailable`, with the last lines of output, when the command ends before that or takes longer
        than `seconds`; nothing of it is left then.
        """
        try:
            self._process = await EngineProcess.spawn_command(
                self._model, self._command, self._environment, self._ended.set
            )
            async with asyncio.timeout(seconds):
                while not (self._ended.is_set() or await is_ready()):  # noqa: ASYNC110 - it tells only when asked
                    await asyncio.sleep(POLL_SECONDS)
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise self._failed(f"it was not ready within {seconds:g} s") from error
            raise
        if self._ended.is_set():
            await self.stop()
            raise self._failed(self.ending())

    async def died(self) -> str:
        """Return how the command ended when it did so by itself; wait for ever while it lives or after `stop`."""
        await self._ended.wait()
        if self._is_stopping:
            await asyncio.Event().wait()
        if self._process and (said := self._process.last_output()):
            logger.warning("the last that the engine of model %r said: %s", self._model, said)
        return self.ending()

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the command by SIGTERM, after `seconds` its group by SIGKILL. Safe to call twice."""
        self._is_stopping = True
        if self._process:
            try:
                await self._process.end(seconds)
            finally:
                self._process.close()

    def ending(self) -> str:
        """Return how the command ended."""
        return self._process.ending() if self._process else "its process was not started"

    def last_output(self) -> str:
        """Return its last lines of output in one. Not for clients: it may quote a prompt."""
        return self._process.last_output() if self._process else ""

    def _failed(self, how: str) -> EngineUnavailable:
        said = self.last_output()
        return EngineUnavailable(
            f"{self._command[0]} did not start: {how}{f'; it said last: {said}' if said else ''}",
            reason="ENGINE_START_FAILED",
            backend=self._backend,
        )


async def first_ending(*ways: Coroutine[Any, Any, str]) -> str:
    """Return how an engine ended that may end in several ways: the first that comes, in order where several do."""
    waiting = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(way.result() for way in waiting if way in done)
    finally:
        for way in waiting:
            way.cancel()
