"""Admission: what runs, what waits and what is refused, in the same way for every engine.

Requests wait in priority classes; within a class the tenant that has been served the fewest tokens goes first (the
virtual token counter of Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024), and within a tenant the
oldest request whose adapter is there: one that waits for a load holds up no other. Queue and running set are bounded in
requests and in estimated tokens.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bellhousing.adapters import NoWish, Wish
from bellhousing.errors import BellhousingError, DeadlineExceeded, Overloaded
from bellhousing.requests import Priority

CLASSES: tuple[Priority, ...] = ("high", "normal", "low")
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS, UNKNOWN_RETRY_SECONDS = 0.1, 60.0, 1.0
ENOUGH_FINISHES = 8
"""Finishes that must have been seen before the drain rate may refuse a request for its deadline."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one model. None is no bound."""

    max_running: int
    max_queued: int
    max_running_tokens: int | None = None
    max_queued_tokens: int | None = None


@dataclass(eq=False, slots=True)
class Ticket:
    """A request at the gate: its estimated tokens (prompt and output) and its deadline on the loop's clock.

    It is passed over while the adapter that it wishes for is not ready, and holds it from when it is admitted.
    """

    tokens: int
    tenant: str = ""
    priority: Priority = "normal"
    deadline: float | None = None
    adapter: Wish = field(default_factory=NoWish, repr=False)
    admitted: asyncio.Future[None] | None = field(default=None, repr=False)
    is_queued: bool = False
    started: float = 0.0


class DrainRate:
    """Requests that the engine can finish each second, from the time that the last ones spent in it.

    Measured so, and not as finishes over time, it is right for a server that idles as well. At low load it is too high,
    which only means that nothing is refused too early.
    """

    def __init__(self, window: int = 64) -> None:
        self._seconds: deque[float] = deque(maxlen=window)

    def finished(self, seconds: float) -> None:
        """Note a request that spent `seconds` in the engine."""
        self._seconds.append(seconds)

    @property
    def is_known(self) -> bool:
        """Whether enough finishes were seen to judge by."""
        return len(self._seconds) >= ENOUGH_FINISHES

    def per_second(self, concurrency: int) -> float:
        """Return the rate with `concurrency` requests in the engine; 0 before the first finish."""
        spent = sum(self._seconds)
        if not self._seconds:
            return 0.0
        return concurrency * len(self._seconds) / spent if spent > 0 else math.inf


class _Lane:
    """The waiting requests of one priority class, by tenant."""

    def __init__(self) -> None:
        self.tenants: dict[str, deque[Ticket]] = {}

    def add(self, ticket: Ticket) -> None:
        self.tenants.setdefault(ticket.tenant, deque()).append(ticket)

    def remove(self, ticket: Ticket) -> None:
        waiting = self.tenants[ticket.tenant]
        waiting.remove(ticket)
        if not waiting:
            del self.tenants[ticket.tenant]


class Admission:
    """The gate before one model's engine."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running = 0
        self.running_tokens = 0
        self.queued = 0
        self.queued_tokens = 0
        self.drain_rate = DrainRate()
        self._lanes = {name: _Lane() for name in CLASSES}
        self._served: dict[str, int] = {}
        self._closed: Callable[[], BellhousingError] | None = None

    @asynccontextmanager
    async def slot(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for a place, hold it for the body, then give it to the next.

        Raises `Overloaded` when the queue is full or the place would come after the deadline, `DeadlineExceeded` when
        the deadline passes in the queue, and the error given to `close`.
        """
        if self._closed:
            raise self._closed()
        if not ticket.adapter.is_ready or self._next() is not None or not self._fits(ticket):
            await self._wait(ticket)
        else:
            self._start(ticket)
        try:
            yield
        finally:
            self._release(ticket)

    def close(self, error: Callable[[], BellhousingError]) -> None:
        """Refuse all new requests with the error that `error` makes, and end those that wait with it."""
        self._closed = error
        waiting = [t for lane in self._lanes.values() for tickets in lane.tenants.values() for t in tickets]
        for ticket in waiting:
            if ticket.admitted and not ticket.admitted.done():
                ticket.admitted.set_exception(error())

    def open(self, limits: Limits) -> None:
        """Admit again, within `limits`."""
        self._closed = None
        self.limits = limits
        self._dispatch()

    def wake(self) -> None:
        """Admit what can be admitted: an adapter may have become ready."""
        self._dispatch()

    def retry_after(self) -> float:
        """Return the seconds after which a place in the queue should be free, from the drain rate."""
        rate = self.requests_per_second()
        if rate <= 0:
            return UNKNOWN_RETRY_SECONDS
        excess = max(1, self.queued + 1 - self.limits.max_queued)
        return min(MAX_RETRY_SECONDS, max(MIN_RETRY_SECONDS, excess / rate))

    def expected_wait(self, ticket: Ticket) -> float | None:
        """Return the seconds until a request entering now should start; None while the drain rate is unknown."""
        if not self.drain_rate.is_known:
            return None
        ahead = sum(
            len(waiting)
            for name in CLASSES[: CLASSES.index(ticket.priority) + 1]
            for waiting in self._lanes[name].tenants.values()
        )
        return (ahead + 1) / self.requests_per_second()

    def requests_per_second(self) -> float:
        """Return the rate at which the queue drains; 0 before the first finish.

        What runs now is all that there is room for only while somebody waits who could start: a queue that waits for
        adapters leaves places empty, and fills them once they are there.
        """
        is_full = self.running > 0 and self._next() is not None
        return self.drain_rate.per_second(self.running if is_full else self.limits.max_running)

    async def _wait(self, ticket: Ticket) -> None:
        loop = asyncio.get_running_loop()
        self._check_bounds(ticket, loop.time())
        ticket.admitted = loop.create_future()
        self._enqueue(ticket)
        try:
            async with asyncio.timeout_at(ticket.deadline):
                await ticket.admitted
        except TimeoutError as error:
            self._leave(ticket)
            raise DeadlineExceeded("the deadline passed while the request waited in the queue") from error
        except BaseException:
            self._leave(ticket)
            raise

    def _leave(self, ticket: Ticket) -> None:
        """Take out a request that gives up; one that was admitted in the same instant gives its place back."""
        future = ticket.admitted
        if future and future.done() and not future.cancelled() and future.exception() is None:
            self._release(ticket)
            return
        self._dequeue(ticket)
        self._dispatch()

    def _check_bounds(self, ticket: Ticket, now: float) -> None:
        limits = self.limits
        if self.queued >= limits.max_queued:
            raise Overloaded(
                f"the queue is full: {self.queued} requests wait, at most {limits.max_queued} may",
                retry_after=self.retry_after(),
            )
        tokens = self.queued_tokens + ticket.tokens
        if limits.max_queued_tokens is not None and self.queued and tokens > limits.max_queued_tokens:
            raise Overloaded(
                f"the queue is full: {tokens} tokens would wait, at most {limits.max_queued_tokens} may",
                retry_after=self.retry_after(),
            )
        expected = self.expected_wait(ticket) if ticket.deadline is not None else None
        if ticket.deadline is not None and expected is not None and now + expected > ticket.deadline:
            raise Overloaded(
                f"the request would start in {expected:.2f} s, its deadline is in {ticket.deadline - now:.2f} s",
                reason="DEADLINE_UNREACHABLE",
                retry_after=self.retry_after(),
            )

    def _fits(self, ticket: Ticket) -> bool:
        """Tell whether the engine has room. A request larger than the token bound runs alone."""
        if self.running >= self.limits.max_running:
            return False
        bound = self.limits.max_running_tokens
        return bound is None or self.running == 0 or self.running_tokens + ticket.tokens <= bound

    def _enqueue(self, ticket: Ticket) -> None:
        lane = self._lanes[ticket.priority]
        if ticket.tenant not in lane.tenants:
            # A tenant that was away must not be owed the time it did not ask for.
            active = [self._served.get(name, 0) for name in self._waiting_tenants()]
            self._served[ticket.tenant] = max(self._served.get(ticket.tenant, 0), min(active, default=0))
        lane.add(ticket)
        ticket.is_queued = True
        self.queued += 1
        self.queued_tokens += ticket.tokens

    def _waiting_tenants(self) -> set[str]:
        return {name for lane in self._lanes.values() for name in lane.tenants}

    def _dequeue(self, ticket: Ticket) -> None:
        if not ticket.is_queued:
            return
        ticket.is_queued = False
        self._lanes[ticket.priority].remove(ticket)
        self.queued -= 1
        self.queued_tokens -= ticket.tokens

    def _start(self, ticket: Ticket) -> None:
        ticket.started = asyncio.get_running_loop().time()
        ticket.adapter.hold()
        self.running += 1
        self.running_tokens += ticket.tokens
        self._served[ticket.tenant] = self._served.get(ticket.tenant, 0) + ticket.tokens

    def _release(self, ticket: Ticket) -> None:
        self.running -= 1
        self.running_tokens -= ticket.tokens
        self.drain_rate.finished(asyncio.get_running_loop().time() - ticket.started)
        if not self.queued and not self.running:
            self._served.clear()
        self._dispatch()

    def _dispatch(self) -> None:
        while self.queued and self._closed is None:
            ticket = self._next()
            if ticket is None or not self._fits(ticket):
                return
            self._dequeue(ticket)
            if ticket.admitted and not ticket.admitted.done():
                self._start(ticket)
                ticket.admitted.set_result(None)

    def _next(self) -> Ticket | None:
        """Return who is next of those whose adapter is ready; None when nobody is."""
        if not self.queued:
            return None
        for lane in self._lanes.values():
            for tenant in sorted(lane.tenants, key=lambda name: self._served.get(name, 0)):
                for ticket in lane.tenants[tenant]:
                    if ticket.adapter.is_ready:
                        return ticket
        return None
