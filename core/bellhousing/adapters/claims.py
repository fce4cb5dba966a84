"""What passes between requests and the device: stays on it, waits for it, and the claims and wishes of requests."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from bellhousing.adapters.record import AdapterRecord
from bellhousing.adapters.supply import Supplied
from bellhousing.errors import BellhousingError


class Gate(Protocol):
    """Who hears of claims that end: the device."""

    def give_up(self, claim: "Claim") -> None:
        """Take out a claim that was never settled."""

    def released(self) -> None:
        """Note that an adapter is used by one request less."""


class Wish(Protocol):
    """What a request wants of the adapters: see `Claim`."""

    digest: str

    @property
    def is_ready(self) -> bool:
        """Whether the request need wait no longer for it."""

    def hold(self) -> None:
        """Keep the adapter on the device."""

    def check(self) -> None:
        """Raise why there is none."""

    def release(self) -> None:
        """Want it no more."""


class NoWish:
    """The wish of a request for the base model: it is always ready."""

    digest = ""
    is_ready = True

    def hold(self) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


@dataclass(eq=False, slots=True)
class Stay:
    """An adapter on the device; `claims` are ready and no leases yet."""

    record: AdapterRecord
    supplied: Supplied | None = None
    leases: int = 0
    claims: "set[Claim]" = field(default_factory=set)
    is_closed: bool = False
    """It takes no new leases: it is on its way out."""

    @property
    def is_idle(self) -> bool:
        """Whether no request uses it, nor is about to."""
        return not self.leases and (self.is_closed or not self.claims)

    def matches(self, record: AdapterRecord) -> bool:
        """Tell whether it has the weights of a record."""
        return self.record.is_static or self.record.has_weights_of(record)


@dataclass(eq=False, slots=True)
class Wait:
    """An adapter that is wanted and not there.

    `since` is on the loop's clock; `supplied` is there once its files are here, which `obtaining` sees to.
    """

    record: AdapterRecord
    since: float
    claims: "set[Claim]" = field(default_factory=set)
    supplied: Supplied | None = None
    obtaining: asyncio.Task[None] | None = None


class Claim:
    """A request's wish for an adapter: `wait` or ask `is_ready`, then `hold`, and `release` in the end.

    Waiting ends well or with `error`; `digest` is that of the weights that a lease is for.
    """

    def __init__(self, gate: Gate, name: str) -> None:
        self.name = name
        self.digest = ""
        self.error: BellhousingError | None = None
        self._gate = gate
        self._stay: Stay | None = None
        self._is_held = False
        self._ended: asyncio.Future[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether waiting is over: the adapter is there, or its load has failed."""
        return self._stay is not None or self.error is not None

    def hold(self) -> None:
        """Keep the adapter on the device. Only when ready; without effect after a failure."""
        if self._stay is not None and not self._is_held:
            self._is_held = True
            self._stay.claims.discard(self)
            self._stay.leases += 1
            self.digest = self._stay.record.digest

    async def wait(self) -> None:
        """Wait until ready. Raises why the load failed."""
        while not self.is_ready:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended
        self.check()

    def check(self) -> None:
        """Raise why the load failed, if it did."""
        if self.error is not None:
            raise self.error

    def release(self) -> None:
        """Want the adapter no more. Safe to call twice."""
        stay, self._stay = self._stay, None
        if stay is None:
            self._gate.give_up(self)
            return
        if self._is_held:
            stay.leases -= 1
        stay.claims.discard(self)
        self._gate.released()

    def settle(self, stay: Stay | None, error: BellhousingError | None = None) -> None:
        """Give the claim its adapter, or why there is none, or with neither take it away again."""
        if stay is not None:
            stay.claims.add(self)
        self._stay, self.error = stay, error
        if self._ended is not None and not self._ended.done() and self.is_ready:
            self._ended.set_result(None)
