"""The engine's process as the server sees it: its start, its output, its end, and that nothing of it is left behind."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from bellhousing.process import lifeline as lifeline_module

STOP_SECONDS = 5.0
"""How long a backend may take to stop, and its process to exit, before SIGTERM."""
TERM_SECONDS = 1.0
"""How long it has after SIGTERM, before SIGKILL."""
DRAIN_SECONDS = 0.2
"""How long the output of a process that has ended is waited for: one that left the group may hold the pipe open."""
KEPT_LINES = 200
TOLD_LINES = 5
LINE_LIMIT = 4096
TOLD_LINE_LIMIT = 200

# Sets the server's own path before the first import, so that both sides import the same packages.
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from bellhousing.process.child import main; main(int(sys.argv[1]))"


class EngineProcess(asyncio.SubprocessProtocol):
    """One engine process, in a session and group of its own, so that Ctrl-C in a terminal does not reach it.

    What it started and left in its group is killed when it ends; `exited` is called soon after.
    """

    def __init__(self, model: str, lifeline: int, exited: Callable[[], None]) -> None:
        self._logger = logging.getLogger(f"bellhousing.engine.{model}")
        self._lifeline = lifeline
        self._on_exit = exited
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._unfinished_line = b""
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None
        self.pid = 0
        self.returncode: int | None = None
        self.is_killed = False

    @classmethod
    async def spawn(cls, model: str, connection: socket.socket, exited: Callable[[], None]) -> "EngineProcess":
        """Start a process that serves `connection`; the caller closes its own copy of it afterwards."""
        fd = connection.fileno()
        program = (sys.executable, "-u", "-c", _BOOT, str(fd), *sys.path)
        return await cls._spawn(model, program, exited, pass_fds=(fd,))

    @classmethod
    async def spawn_command(
        cls, model: str, command: Sequence[str], environment: Mapping[str, str], exited: Callable[[], None]
    ) -> "EngineProcess":
        """Start a command of someone else's with exactly this environment."""
        program = (sys.executable, "-I", "-S", lifeline_module.__file__, *command)
        return await cls._spawn(model, program, exited, environment=environment)

    @classmethod
    async def _spawn(
        cls,
        model: str,
        program: Sequence[str],
        exited: Callable[[], None],
        *,
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "EngineProcess":
        lifeline, held = os.pipe()  # see lifeline.py
        try:
            _, process = await asyncio.get_running_loop().subprocess_exec(
                lambda: cls(model, held, exited),
                *program,
                stdin=lifeline,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
                env=environment,
            )
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(lifeline)
        return process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop when the process runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid() or 0

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - there is one pipe
        """Called by the loop for output; always taken at once, since a full pipe would block the engine."""
        *lines, rest = (self._unfinished_line + data).split(b"\n")
        if len(rest) > LINE_LIMIT:
            lines, rest = [*lines, rest], b""
        self._unfinished_line = rest
        for line in lines:
            self._keep(line)

    def process_exited(self) -> None:
        """Called by the loop when the process has ended."""
        self.returncode = self._transport.get_returncode() if self._transport else None
        self.kill()
        self._exited.set()
        # The socket may still hold what was sent last; its end follows, unless one that left the group holds it too.
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._on_exit)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Called by the loop when the process has ended and its output as well."""
        self._keep(self._unfinished_line)
        self._unfinished_line = b""
        self._drained.set()

    async def has_exited(self, seconds: float) -> bool:
        """Wait for the process's end, at most so long, and for the rest of its output; tell whether it ended."""
        if await _within(seconds, self._exited):
            await _within(DRAIN_SECONDS, self._drained)
        return self._exited.is_set()

    async def end(self, seconds: float = TERM_SECONDS) -> None:
        """End the process by SIGTERM, after `seconds` its group by SIGKILL; does nothing when it has ended."""
        if self._exited.is_set() or self._transport is None:
            return
        with suppress(ProcessLookupError):
            self._transport.terminate()
        if not await self.has_exited(seconds):
            self.kill()
            await self.has_exited(TERM_SECONDS)

    def kill(self) -> None:
        """Kill the process and its group at once."""
        self.is_killed = True
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill what is left, and let go of it."""
        if not self._exited.is_set():
            self.kill()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._transport:
            self._transport.close()

    def ending(self) -> str:
        """Return how the process ended."""
        code = self.returncode
        if code is None:
            return "its process closed the connection and did not exit"
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process exited with code {code}"

    def last_output(self) -> str:
        """Return its last lines of output in one; empty if it wrote none. Not for clients: it may quote a prompt."""
        return " | ".join(line[:TOLD_LINE_LIMIT] for line in list(self._lines)[-TOLD_LINES:])

    def _keep(self, line: bytes) -> None:
        text = line[:LINE_LIMIT].decode(errors="replace").rstrip()
        if text:
            self._lines.append(text)
            self._logger.debug("%s", text)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
