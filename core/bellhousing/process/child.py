"""The engine process: builds one backend and does what the server asks of it over a socket."""

import asyncio
import ctypes
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from bellhousing.backend import Backend
from bellhousing.errors import BellhousingError, ConfigurationError, EngineFault
from bellhousing.events import Progress
from bellhousing.process import frames
from bellhousing.process.frames import Frame
from bellhousing.settings import ModelSpec

logger = logging.getLogger("bellhousing.engine")
PR_SET_PDEATHSIG = 1
READ_SIZE = 1 << 18


class Child(asyncio.Protocol):
    """The engine's side of the socket. Everything written in one turn of the loop leaves in one send."""

    def __init__(self) -> None:
        self._parser = frames.Parser()
        self._outgoing: list[bytes] = []
        self._work: dict[int, asyncio.Task[None]] = {}
        self._backend: Backend | None = None
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Act on each frame."""
        for frame in self._parser.feed(data):
            self._act(frame)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The server is gone: nobody needs this process."""
        os._exit(1)

    def send(self, kind: str, stream: int = 0, name: str = "", value: object = None) -> None:
        """Send a frame."""
        self._queue(frames.encode(kind, stream, name, value))

    def _queue(self, data: bytes) -> None:
        """Send data with everything else of this turn of the loop."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        waiting, self._outgoing = self._outgoing, []
        if self._transport:
            self._transport.write(b"".join(waiting))

    def _act(self, frame: Frame) -> None:
        if frame.kind == "init":
            self._begin(0, self._start(frames.decode(frame.body, frames.Init)))
        elif frame.kind == "generate":
            self._begin(frame.stream, self._generate(frame))
        elif frame.kind == "call":
            self._begin(frame.stream, self._call(frame))
        elif frame.kind == "cancel":
            task = self._work.get(frame.stream)
            if task:
                task.cancel()
        elif frame.kind == "stop":
            self._begin(-1, self._stop())

    def _begin(self, stream: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(stream, work))
        self._work[stream] = task
        task.add_done_callback(lambda _: self._work.pop(stream, None))

    async def _guarded(self, stream: int, work: Coroutine[Any, Any, None]) -> None:
        """Do the work; what it raises travels to the server."""
        try:
            await work
        except BellhousingError as error:
            self.send("error", stream, value=frames.error_body(error))
        except NotImplementedError:
            self.send("unimplemented", stream)
        except Exception as error:
            logger.exception("the backend failed")
            fault = EngineFault(f"the backend failed with {type(error).__name__}: {error}", reason="BACKEND_DEFECT")
            self.send("error", stream, value=frames.error_body(fault))

    async def _start(self, init: frames.Init) -> None:
        if init.version != frames.VERSION:
            raise ConfigurationError(f"engine process: expected wire version {frames.VERSION}, found {init.version}")
        module, _, name = init.backend.partition(":")
        backend_class: type[Backend] = getattr(importlib.import_module(module), name)
        options = backend_class.Options.model_validate_json(init.options)
        backend = self._backend = backend_class(ModelSpec.model_validate_json(init.spec), options)
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(self.send, "progress", 0, "", progress)

        info = await backend.start(report)
        self.send("ready", 0, value=info)
        self._begin(-2, self._watch(backend))

    async def _watch(self, backend: Backend) -> None:
        self.send("died", 0, value=await backend.died())

    async def _generate(self, frame: Frame) -> None:
        request = frames.decode(frame.body, frames.REQUEST)
        async with aclosing(self._running().generate(request)) as events:  # type: ignore[type-var]
            async for event in events:
                self._queue(frames.encode_event(frame.stream, event))
        self.send("end", frame.stream)

    async def _call(self, frame: Frame) -> None:
        arguments = list(frames.decode(frame.body, frames.ARGUMENTS[frame.name]))
        named = {}
        if frame.name == "tokenize":
            named["add_special"] = arguments.pop()
        if frame.name == "embed":
            named["truncate"] = arguments.pop()
        result = await getattr(self._running(), frame.name)(*arguments, **named)
        self.send("result", frame.stream, frame.name, result)

    async def _stop(self) -> None:
        for stream, task in list(self._work.items()):
            if stream != -1:
                task.cancel()
        if self._backend:
            await self._backend.stop()
        if not self.ended.done():
            self.ended.set_result(None)

    def _running(self) -> Backend:
        if self._backend is None:
            raise EngineFault("the engine process has no backend yet")
        return self._backend


def _die_with_parent(parent: int) -> None:
    """Have the kernel end this process when the server dies, however it dies. (Linux; elsewhere the socket tells.)"""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch_socket(fd: int) -> None:
    """End the process when the server closes the socket, even while native code blocks the event loop."""
    poll = select.poll()
    poll.register(fd, 0)
    while True:
        for _, event in poll.poll():
            if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                os._exit(1)


async def _serve(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    _, child = await loop.create_connection(Child, sock=connection)
    await child.ended


def main(fd: int, parent: int) -> None:
    """Serve the socket `fd` until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(parent)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_watch_socket, args=(os.dup(fd),), daemon=True).start()
    connection = socket.socket(fileno=fd)
    connection.setblocking(False)
    asyncio.run(_serve(connection))
    sys.stderr.flush()
    # Native engines may hang or abort in their own exit handlers; everything of ours is done.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
