"""One request on its way through the house: queue, engine, stream grammar, reader."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Protocol

from bellhousing.adapters import Adapters, Wish
from bellhousing.admission import Admission, Ticket
from bellhousing.backend import Backend
from bellhousing.errors import BellhousingError, DeadlineExceeded, EngineFault
from bellhousing.events import Delta, Event, Finished, Started
from bellhousing.outbox import Outbox
from bellhousing.plugins import Plugins
from bellhousing.stream import GenerationStream, SequenceOutcome
from bellhousing.timeline import Timeline
from bellhousing.validation import AcceptedRequest

logger = logging.getLogger(__name__)

Send = Callable[[Started | Delta], Awaitable[None]]


class Engine(Protocol):
    """What a generation needs of its model. `backend` is asked for at dispatch: it may be a new one by then."""

    admission: Admission
    adapters: Adapters

    @property
    def backend(self) -> Backend:
        """The running backend."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `Finished` tells the client."""

    outcomes: list[SequenceOutcome]
    timeline: Timeline
    adapter_digest: str = ""


class Generation:
    """A request in flight. `run` it once; `fail` ends it from outside.

    Two tasks serve it: the caller's own, which queues and then delivers, and a pump that reads the engine, so that
    neither a slow reader nor a slow engine holds up the other.
    """

    def __init__(self, accepted: AcceptedRequest, timeline: Timeline, plugins: Plugins, deadline: float | None) -> None:
        self.accepted = accepted
        self.timeline = timeline
        self.is_partial = False
        self.lacked_adapter = False
        """Whether it ended because its adapter could not be loaded."""
        self._plugins = plugins
        self._deadline = deadline
        self._ticket = Ticket(accepted.estimated_tokens, timeline.tenant, accepted.request.priority, deadline)
        self._outbox = Outbox(coalesce=accepted.coalesce)
        self._stream = GenerationStream(accepted.request, timeline.backend)
        self._pump: asyncio.Task[None] | None = None
        self._failure: BellhousingError | None = None

    async def run(self, engine: Engine, send: Send) -> Report:
        """Wait for a place, generate, and pass on Started and every Delta; return the report for Finished.

        Raises any `BellhousingError`. Cancelling the caller ends the engine's work.
        """
        timeline = self.timeline
        adapter = self._ticket.adapter = engine.adapters.claim(timeline.adapter, timeline.tenant)
        try:
            return await self._run_with(adapter, engine, send)
        finally:
            adapter.release()

    async def _run_with(self, adapter: Wish, engine: Engine, send: Send) -> Report:
        timeline = self.timeline
        async with engine.admission.slot(self._ticket):
            self._check(adapter)
            if self._failure:
                raise self._failure
            timeline.dispatched = time.monotonic_ns()
            self._plugins.request_dispatched(timeline)
            self._pump = asyncio.create_task(self._read_engine(engine.backend))
            try:
                await self._deliver(send)
            finally:
                await self._end_pump()
        return Report(self._stream.outcomes(), timeline, adapter.digest)

    def _check(self, adapter: Wish) -> None:
        try:
            adapter.check()
        except BellhousingError:
            self.lacked_adapter = True
            raise

    def fail(self, error: BellhousingError) -> None:
        """End the request with `error`, after what the reader was still owed."""
        self._failure = error
        waiting = self._ticket.admitted
        if self._ticket.is_queued and waiting and not waiting.done():
            waiting.set_exception(error)
        self._outbox.close(error)
        if self._pump:
            self._pump.cancel()

    async def _deliver(self, send: Send) -> None:
        while (item := await self._outbox.take()) is not None:
            await send(item)
            self.is_partial = self.is_partial or type(item) is Delta

    async def _end_pump(self) -> None:
        if self._pump and not self._pump.done():
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump

    async def _read_engine(self, backend: Backend) -> None:
        """Drive the engine to the end of the stream; whatever goes wrong reaches the reader through the outbox."""
        try:
            async with asyncio.timeout_at(self._deadline) as timer:
                await self._read_within_budget(backend)
            self._outbox.close()
        except BellhousingError as error:
            error.backend = error.backend or self.timeline.backend
            self._outbox.close(error)
        except TimeoutError as error:
            self._outbox.close(self._deadline_error() if timer.expired() else self._defect(error))
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; the client gets INTERNAL
            self._outbox.close(self._defect(error))
        finally:
            self._note_tokens()

    async def _read_within_budget(self, backend: Backend) -> None:
        budget = self.accepted.time_budget
        end = asyncio.get_running_loop().time() + budget if budget is not None else None
        try:
            async with asyncio.timeout_at(end) as timer:
                await self._read_events(backend)
        except TimeoutError:
            if not timer.expired() or self._stream.state != "started":
                raise
            self._outbox.put(self._stream.cut("time_budget"))

    async def _read_events(self, backend: Backend) -> None:
        outbox, stream, timeline = self._outbox, self._stream, self.timeline
        observed = self._plugins.has_delta_observers
        async with aclosing(backend.generate(self.accepted.request)) as events:  # type: ignore[type-var]
            async for event in events:
                if type(event) is not Delta or stream.state != "started":
                    self._take_other(event)
                    continue
                timeline.last_token = time.monotonic_ns()
                if not timeline.first_token:
                    self._note_first_token()
                if observed:
                    self._plugins.delta(timeline, event.token_count, event.index)
                outbox.put(stream.delta(event))
                if stream.all_stopped:
                    stream.cut("unspecified_stop")
                    return
                if outbox.is_full:
                    await outbox.room()
        stream.end()

    def _take_other(self, event: Event) -> None:
        if self._stream.state == "finished":
            self._stream.refuse(event)
        elif isinstance(event, Finished):
            self._outbox.put(self._stream.finish(event))
            self._note_end(event)
        else:
            started = self._stream.start(event)
            self.timeline.started = time.monotonic_ns()
            self._note_prompt(started)
            self._outbox.put((started,))

    def _note_first_token(self) -> None:
        self.timeline.first_token = self.timeline.last_token
        self._plugins.first_token(self.timeline)

    def _note_prompt(self, event: Started | Finished) -> None:
        if event.prompt_tokens is not None:
            self.timeline.prompt_tokens = event.prompt_tokens
        if event.cached_tokens is not None:
            self.timeline.cached_tokens = event.cached_tokens

    def _note_end(self, event: Finished) -> None:
        self._note_prompt(event)
        self.timeline.engine_prefill_seconds = event.engine_prefill_seconds

    def _note_tokens(self) -> None:
        self.timeline.completion_tokens = sum(sequence.tokens for sequence in self._stream.sequences)

    def _deadline_error(self) -> DeadlineExceeded:
        where = "decode" if self.timeline.first_token else "prefill"
        return DeadlineExceeded(f"the deadline passed in {where}", backend=self.timeline.backend)

    def _defect(self, error: Exception) -> EngineFault:
        name = self.timeline.backend
        logger.error("backend %r failed request %s", name, self.timeline.request_id, exc_info=error)
        return EngineFault(
            f"backend {name!r} failed with {type(error).__name__}: a defect of the backend, see the server's log",
            reason="BACKEND_DEFECT",
            backend=name,
        )
