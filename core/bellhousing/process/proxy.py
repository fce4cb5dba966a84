"""A Backend that runs another in a process of its own."""

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import msgspec
from pydantic import BaseModel

from bellhousing.backend import AdapterFiles, Backend, EmbeddingResult, EngineLoad, ModelInfo, TokenPiece
from bellhousing.errors import BellhousingError, ConfigurationError, EngineFault, EngineUnavailable
from bellhousing.events import Event, Progress
from bellhousing.process import frames
from bellhousing.process.connection import Connection
from bellhousing.process.engine import STOP_SECONDS, TERM_SECONDS, EngineProcess
from bellhousing.process.exchange import Exchange
from bellhousing.process.failures import rebuild
from bellhousing.requests import Chat, GenerationRequest
from bellhousing.settings import ModelSpec

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""What a client is told to wait when the engine has died."""


class ProcessBackend(Backend):
    """`backend_class` in a supervised process. The same promises as `Backend`; start it once.

    When the process ends by itself, each open stream and call ends with `EngineUnavailable` (reason ENGINE_DIED), and
    `died` returns how it ended. Its last lines of output go to the log, and into the error only while it loads: later
    they may quote a client's prompt.
    """

    name = "process"

    def __init__(self, backend_class: type[Backend], spec: ModelSpec, options: BaseModel) -> None:
        super().__init__(spec, options)
        self.backend_class = backend_class
        self._engine: EngineProcess | None = None
        self._connection: Connection | None = None
        self._exchanges: dict[int, Exchange] = {}
        self._numbers = itertools.count(1)
        self._has_started = False
        self._is_stopping = False
        self._stopping = asyncio.Lock()
        self._burial: asyncio.Task[None] | None = None
        self._death = ""
        self._dead = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The id of the engine's process; None while there is none."""
        return self._engine.pid if self._engine and self._engine.returncode is None else None

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Start the process and the backend in it. Raises what the backend raises; no process is left then.

        A crash while loading is `EngineUnavailable` with the last lines of output.
        """
        path = f"{self.backend_class.__module__}:{self.backend_class.__qualname__}"
        spec, options = self.spec.model_dump_json(), self._options_json()
        try:
            connection = await self._spawn()
            with self._exchange(connection, frames.Start, path, spec, options) as replies:
                info = cast("ModelInfo", await _result("start", replies, progress))
        except BaseException as error:
            if self._engine and isinstance(error, asyncio.CancelledError):
                self._engine.kill()  # it may be deep in native code, and has nothing to lose yet
            await self.stop()
            raise
        self._has_started = True
        return info

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield what the backend yields. Closing it closes the backend's generator."""
        with self._exchange(self._running(), frames.Generate, request) as replies:
            async for reply in replies:
                yield cast("frames.StartedEvent | frames.DeltaEvent | frames.FinishedEvent", reply).event

    async def stop(self) -> None:
        """Stop the backend and end its process: asked for a few seconds, then by SIGTERM, then by SIGKILL."""
        self._is_stopping = True
        async with self._stopping:
            try:
                if self._engine and self._connection and not self._engine.is_killed:
                    await self._ask_to_stop(self._engine, self._connection)
                if self._engine:
                    await self._engine.end()
            finally:
                if self._engine:
                    self._engine.close()
                if self._connection:
                    self._connection.close()
            if self._burial:
                await self._burial

    async def died(self) -> str:
        """Return how the engine ended when it did so by itself; wait for ever while it lives or after `stop`."""
        await self._dead.wait()
        return self._death

    async def load(self) -> EngineLoad:
        """As the backend's."""
        return cast("EngineLoad", await self._call("load"))

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """As the backend's."""
        return cast("Sequence[TokenPiece]", await self._call("tokenize", prompt=prompt, add_special=add_special))

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """As the backend's."""
        return cast("bytes", await self._call("detokenize", ids=ids))

    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        """As the backend's."""
        return cast("EmbeddingResult", await self._call("embed", prompt=prompt, truncate=truncate))

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """As the backend's."""
        await self._call("load_adapter", adapter=adapter)

    async def unload_adapter(self, name: str) -> None:
        """As the backend's."""
        await self._call("unload_adapter", name=name)

    async def sleep(self, level: int) -> None:
        """As the backend's."""
        await self._call("sleep", level=level)

    async def wake(self) -> None:
        """As the backend's."""
        await self._call("wake")

    def _options_json(self) -> str:
        """Return the options as JSON. Raises `ConfigurationError` for options that JSON changes, such as SecretStr."""
        options: BaseModel = self.options
        text = options.model_dump_json(by_alias=True, round_trip=True)
        if type(options).model_validate_json(text) != options:
            raise ConfigurationError(
                f"options of backend {self.backend_class.name!r}: expected ones that JSON keeps as they are, since they"
                " go to a process of its own"
            )
        return text

    async def _spawn(self) -> Connection:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            connection = self._connection = Connection(self._receive, self._lost)
            await loop.create_unix_connection(lambda: connection, sock=ours)
            self._engine = await EngineProcess.spawn(self.spec.name, theirs, connection.close)
        return connection

    def _receive(self, bodies: list[bytearray]) -> None:
        """Take what came together: an engine's step has a token of each stream, and each costs the server time.

        Streams without a token yet go first, since somebody waits for their beginning.
        """
        replies = [reply for body in bodies if (reply := self._decoded(body)) is not None]
        for reply in replies if len(replies) < 2 else sorted(replies, key=self._has_tokens):
            self._hand(reply)

    def _decoded(self, body: bytearray) -> frames.Reply | None:
        try:
            return frames.decode_reply(body)
        except msgspec.ValidationError as error:
            self._refuse(body, error)
            return None

    def _has_tokens(self, reply: frames.Reply) -> bool:
        exchange = self._exchanges.get(reply.id)
        return exchange is not None and exchange.has_tokens

    def _hand(self, reply: frames.Reply) -> None:
        """Hand a reply to its exchange; what belongs to none comes too late for one that was closed."""
        exchange = self._exchanges.get(reply.id)
        if exchange is None:
            self._take_notice(reply)
        elif type(reply) is frames.Failed:
            if reply.failure.traceback:
                logger.error("a defect of backend %r:\n%s", self.backend_class.name, reply.failure.traceback)
            exchange.end(rebuild(reply.failure))
        elif type(reply) is frames.End:
            exchange.end()
        else:
            exchange.put(reply)

    def _take_notice(self, reply: frames.Reply) -> None:
        if type(reply) is frames.Died:
            self._log_last_words(self._engine)
            self._report_death(reply.reason)
        elif type(reply) is frames.Hello and reply.version != frames.WIRE_VERSION:
            error = ConfigurationError(
                f"the process of backend {self.backend_class.name!r} speaks wire version {reply.version}, expected"
                f" {frames.WIRE_VERSION}",
                hint="Restart the server: its packages were changed while it ran.",
            )
            self._end_exchanges(error)

    def _refuse(self, body: bytearray, error: msgspec.ValidationError) -> None:
        """End the exchange of a reply whose values are not of the declared types."""
        number = frames.exchange_of(body)
        exchange = self._exchanges.get(number)
        if exchange and self._connection:
            self._connection.send(frames.Cancel(number))
            exchange.end(_wrong_value("generate", error))

    def _lost(self) -> None:
        if self._engine is None or self._is_stopping:
            self._end_exchanges(self._gone())
        else:
            self._burial = asyncio.get_running_loop().create_task(self._bury(self._engine))

    async def _bury(self, engine: EngineProcess) -> None:
        """Tell everyone how the process ended."""
        if not await engine.has_exited(TERM_SECONDS):
            engine.kill()
            await engine.has_exited(TERM_SECONDS)
        self._report_death(self._obituary(engine))
        self._end_exchanges(self._gone())
        engine.close()

    def _obituary(self, engine: EngineProcess) -> str:
        ending = engine.ending()
        if not self._has_started and (output := engine.last_output()):
            return f"{ending}; its last output: {output}"
        self._log_last_words(engine)
        return ending

    def _log_last_words(self, engine: EngineProcess | None) -> None:
        if engine is not None and (output := engine.last_output()):
            logger.error("the engine of model %r wrote before it ended: %s", self.spec.name, output)

    def _report_death(self, reason: str) -> None:
        if not self._is_stopping and not self._dead.is_set():
            self._death = reason
            self._dead.set()

    def _end_exchanges(self, error: BellhousingError) -> None:
        for exchange in self._exchanges.values():
            exchange.end(error)

    def _running(self) -> Connection:
        if self._connection is None or self._is_stopping or self._dead.is_set():
            raise self._gone()
        return self._connection

    def _gone(self) -> EngineUnavailable:
        died = bool(self._death)
        return EngineUnavailable(
            f"the engine of model {self.spec.name!r} {f'died: {self._death}' if died else 'is not running'}",
            reason="ENGINE_DIED" if died else "ENGINE_STOPPED",
            backend=self.backend_class.name,
            retry_after=RETRY_SECONDS if died else None,
        )

    @contextmanager
    def _exchange(
        self, connection: Connection, kind: Callable[..., frames.Frame], *content: object
    ) -> Iterator[Exchange]:
        """Open an exchange; leaving it cancels what still goes on in the process."""
        exchange = Exchange(next(self._numbers))
        self._exchanges[exchange.number] = exchange
        try:
            connection.send(kind(exchange.number, *content))
            yield exchange
        finally:
            del self._exchanges[exchange.number]
            if not exchange.is_ended:
                connection.send(frames.Cancel(exchange.number))

    async def _call(self, method: str, **arguments: object) -> object:
        return await self._call_over(self._running(), method, arguments)

    async def _call_over(self, connection: Connection, method: str, arguments: dict[str, object]) -> object:
        raw = {name: frames.encode_value(value) for name, value in arguments.items()}
        with self._exchange(connection, frames.Call, method, raw) as replies:
            return await _result(method, replies)

    async def _ask_to_stop(self, engine: EngineProcess, connection: Connection) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._call_over(connection, "stop", {})
                await engine.has_exited(STOP_SECONDS)
        except TimeoutError:
            logger.warning("the engine of model %r did not stop within %g s", self.spec.name, STOP_SECONDS)
        except BellhousingError as error:
            logger.warning("the engine of model %r did not stop cleanly: %s", self.spec.name, error)


async def _result(method: str, replies: Exchange, progress: Callable[[Progress], None] | None = None) -> Any:
    """Return what the method returned, and pass on its progress."""
    result = None
    async for reply in replies:
        if isinstance(reply, frames.ProgressMade) and progress:
            progress(reply.progress)
        elif isinstance(reply, frames.Result):
            try:
                result = frames.decode_result(method, reply.value)
            except msgspec.ValidationError as error:
                raise _wrong_value(method, error) from error
    return result


def _wrong_value(method: str, error: msgspec.ValidationError) -> EngineFault:
    return EngineFault(f"{method}() of the backend gave a wrong value: {error}", reason="BACKEND_DEFECT")
