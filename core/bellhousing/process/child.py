"""The engine's process: builds one backend and does what the server orders. `engine.py` starts it."""

import asyncio
import importlib
import logging
import operator
import os
import signal
import socket
import sys
from contextlib import aclosing

import msgspec

from bellhousing.backend import Backend
from bellhousing.events import Progress
from bellhousing.process import frames
from bellhousing.process.connection import Connection
from bellhousing.process.failures import describe
from bellhousing.process.lifeline import die_with_server, kill_group
from bellhousing.settings import ModelSpec

MOST_UNSENT = 64
"""Frames in one turn of the loop: a generator that never waits must not hold up the others."""


class EngineHost:
    """Serves one backend over a socket: one task for each exchange that the server opens."""

    def __init__(self) -> None:
        self._connection = Connection(self._receive, self._lost)
        self._backend: Backend | None = None
        self._name = ""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._stopped = asyncio.Event()
        self._closed = asyncio.Event()

    async def serve(self, connection: socket.socket) -> None:
        """Return once the server has ordered a stop and has the answer."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._connection, sock=connection)
        self._connection.send(frames.Hello(0, frames.WIRE_VERSION))
        await self._stopped.wait()
        self._connection.close()
        await self._closed.wait()

    def _lost(self) -> None:
        if not self._stopped.is_set():
            kill_group()  # the server is gone
        self._closed.set()

    def _receive(self, bodies: list[bytearray]) -> None:
        for body in bodies:
            self._take(body)

    def _take(self, body: bytearray) -> None:
        try:
            order = frames.decode_order(body)
        except msgspec.ValidationError as error:
            self._fail(frames.exchange_of(body), error)
            return
        if isinstance(order, frames.Cancel):
            task = self._tasks.get(order.id)
            if task:
                task.cancel()
            return
        task = self._tasks[order.id] = asyncio.get_running_loop().create_task(self._answer(order))
        task.add_done_callback(lambda _: self._tasks.pop(order.id))

    async def _answer(self, order: frames.Start | frames.Generate | frames.Call) -> None:
        """Do what was ordered and say how it ended."""
        try:
            if isinstance(order, frames.Generate):
                await self._generate(order)
            elif isinstance(order, frames.Start):
                await self._start(order)
            else:
                await self._call(order)
            self._connection.send(frames.End(order.id))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            self._fail(order.id, error)  # something inside the backend was cancelled: the server still waits
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; the server hears of it
            self._fail(order.id, error)
        if isinstance(order, frames.Call) and order.method == "stop":
            self._stopped.set()

    def _fail(self, exchange: int, error: BaseException) -> None:
        try:
            self._connection.send(frames.Failed(exchange, describe(error, self._name)))
        except (TypeError, ValueError):  # such as a message with lone surrogates
            stand_in = RuntimeError(f"{type(error).__name__}, whose data cannot be sent")
            self._connection.send(frames.Failed(exchange, describe(stand_in, self._name)))

    async def _start(self, order: frames.Start) -> None:
        self._name = order.backend
        module, _, name = order.backend.partition(":")
        kind: type[Backend] = operator.attrgetter(name)(importlib.import_module(module))
        self._name = kind.name
        options = kind.Options.model_validate_json(order.options)
        self._backend = kind(ModelSpec.model_validate_json(order.spec), options)
        loop = asyncio.get_running_loop()

        def progress(step: Progress) -> None:
            loop.call_soon_threadsafe(self._connection.send, frames.ProgressMade(order.id, step))

        info = await self._backend.start(progress)
        await asyncio.sleep(0)  # the last step of progress goes first
        self._connection.send(frames.Result(order.id, frames.encode_value(info)))
        self._tasks[0] = loop.create_task(self._watch(self._backend))

    async def _generate(self, order: frames.Generate) -> None:
        connection = self._connection
        async with aclosing(self._running.generate(order.request)) as events:  # type: ignore[type-var]
            async for event in events:
                connection.send(frames.event_frame(order.id, event))
                if connection.backlog >= MOST_UNSENT:
                    await asyncio.sleep(0)

    async def _call(self, order: frames.Call) -> None:
        arguments = {name: frames.decode_argument(order.method, name, raw) for name, raw in order.arguments.items()}
        if order.method == "stop":
            await self._end_others(order.id)
            if self._backend is None:
                return
        result = await getattr(self._running, order.method)(**arguments)
        self._connection.send(frames.Result(order.id, frames.encode_value(result)))

    async def _end_others(self, exchange: int) -> None:
        others = [task for number, task in self._tasks.items() if number != exchange]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _watch(self, backend: Backend) -> None:
        try:
            reason = await backend.died()
        except Exception as error:  # noqa: BLE001 - a backend whose watch fails is as good as dead
            reason = f"died() of backend {self._name!r} failed with {type(error).__name__}: {error}"
        self._connection.send(frames.Died(0, reason))

    @property
    def _running(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("an order came before Start")
        return self._backend


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(connection: socket.socket) -> None:
    await EngineHost().serve(connection)


def main(fd: int) -> None:
    """Serve the server at the other end of the socket `fd` until it orders a stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(fd, False)
    die_with_server()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    new_event_loop().run_until_complete(_serve(socket.socket(fileno=fd)))
    sys.stdout.flush()
    # Not sys.exit: native engines may hang or crash in their exit handlers, and all that matters is done.
    os._exit(0)
