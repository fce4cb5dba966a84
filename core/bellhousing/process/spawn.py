"""Starts an engine process, keeps its output, notices its end, and leaves nothing behind."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable

from bellhousing.process.frames import Frame, Parser

KEPT_LINES, SHOWN_LINES = 200, 5
STOP_SECONDS, TERM_SECONDS = 5.0, 2.0
OUTPUT_LIMIT = 1 << 16


class _Socket(asyncio.Protocol):
    """The server's end of the socket."""

    def __init__(self, received: Callable[[Frame], None]) -> None:
        self._parser = Parser()
        self._received = received
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for frame in self._parser.feed(data):
            self._received(frame)


class EngineProcess:
    """One engine process in a session of its own, so that a terminal's Ctrl-C does not reach it.

    `gone` is done, with the reason, once the process has ended; what an engine started itself is ended with it. Build
    it where an event loop runs.
    """

    def __init__(self, model: str, received: Callable[[Frame], None]) -> None:
        self._received = received
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._log = logging.getLogger(f"bellhousing.engine.{model}")
        self._process: asyncio.subprocess.Process | None = None
        self._socket: _Socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.is_stopping = False
        self.gone: asyncio.Future[str] = asyncio.Future()

    @property
    def pid(self) -> int | None:
        """The process's id; None before the start."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether there is a process that can be spoken to."""
        return self._socket is not None and not self.gone.done()

    async def start(self) -> None:
        """Start the process; it waits for a first frame."""
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bellhousing.process.child",
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, self._socket = await loop.create_connection(lambda: _Socket(self._received), sock=ours)
        self._tasks = [loop.create_task(self._read_output()), loop.create_task(self._watch())]

    def send(self, data: bytes) -> None:
        """Send a frame; to a process that is gone, nothing."""
        if self.is_running and self._socket and self._socket.transport and not self._socket.transport.is_closing():
            self._socket.transport.write(data)

    async def stop(self, farewell: bytes) -> None:
        """Ask the process to stop, then make it. Safe to call twice and at any moment."""
        self.is_stopping = True
        if self._process is None:
            return
        self.send(farewell)
        for seconds, number in ((STOP_SECONDS, signal.SIGTERM), (TERM_SECONDS, signal.SIGKILL)):
            if self._process.returncode is not None:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._process.wait()
                    break
            self._signal(number)
        await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close()

    async def _read_output(self) -> None:
        """Keep the last lines of output, for ever: a full pipe would block the engine."""
        stream = self._process.stdout if self._process else None
        rest = b""
        while stream and (data := await stream.read(OUTPUT_LIMIT)):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-OUTPUT_LIMIT:]
            for line in lines:
                self._keep(line)
        if rest:
            self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._lines.append(text)
            self._log.debug("%s", text)

    async def _watch(self) -> None:
        process = self._process
        if process is None:
            return
        code = await process.wait()
        self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            # The last lines say why; a grandchild that holds the pipe open must not hold us up.
            await asyncio.wait_for(asyncio.shield(self._tasks[0]), 0.2)
        if not self.gone.done():
            self.gone.set_result("it was stopped" if self.is_stopping else self._obituary(code))
        self._close()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole session of the process: what an engine started must not outlive it."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _obituary(self, code: int) -> str:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        last = list(self._lines)[-SHOWN_LINES:]
        return f"the process {how}" + (f"; its last output: {' | '.join(last)}" if last else "")

    def _close(self) -> None:
        if self._socket and self._socket.transport:
            self._socket.transport.close()
        if self._tasks and not self._tasks[0].done():
            self._tasks[0].cancel()
