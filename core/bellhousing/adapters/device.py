"""Which adapters are on the device, who uses them, and who waits for one.

A request claims its adapter when it arrives. The first claim starts the load, later ones wait for the same; a request
whose adapter is not there yet keeps no other from the engine. A claim that became a lease keeps the adapter on the
device. When all adapters are in use, one that has been waited for longer than `patience` makes the device close another
to new requests, so that no adapter is starved by more popular ones.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from bellhousing.adapters.claims import Claim, Stay, Wait
from bellhousing.adapters.loading import as_ours, load_verified
from bellhousing.adapters.policies import Policy
from bellhousing.adapters.record import AdapterRecord, AdapterState
from bellhousing.adapters.room import Places, Room
from bellhousing.adapters.supply import Supplied, Supply
from bellhousing.adapters.thrash import ThrashDetector
from bellhousing.backend import Backend
from bellhousing.errors import BellhousingError, EngineUnavailable, NotFound, PreconditionFailed
from bellhousing.hookspecs import AdapterChange

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a device needs of its model: the engine, the record of now, and who is told.

    `current` returns the record by name, None once it was removed; `fetched` keeps what a first fetch found; `ready` is
    told when a claim may have become ready.
    """

    backend: Callable[[], Backend]
    current: Callable[[str], AdapterRecord | None]
    fetched: Callable[[AdapterRecord, Supplied], Awaitable[AdapterRecord]]
    changed: Callable[[str, AdapterChange, float], None]
    ready: Callable[[], None]
    thrashing: Callable[[int], None] = lambda _: None


class Device:
    """The adapters on one model's device, of at most `room`."""

    def __init__(self, room: Room, policy: Policy, supply: Supply, around: Surroundings) -> None:
        self._patience = room.patience
        self._policy = policy
        self._supply = supply
        self._around = around
        self._places = Places(room, policy, around.current)
        self._statics: Mapping[str, AdapterRecord] = {}
        self._waits: dict[str, Wait] = {}
        self._has_gone = False
        self._failures: dict[str, tuple[AdapterRecord, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._epoch = 0
        self._thrash = ThrashDetector(room.slots, time.monotonic)

    def names(self) -> list[str]:
        """Return the names whose adapters of now are on the device, sorted."""
        return self._places.names()

    def waiting(self) -> list[str]:
        """Return the names of the adapters that requests wait for, sorted."""
        waits = (*self._waits.values(), *self._places.coming.values())
        return sorted({wait.record.name for wait in waits if wait.claims})

    def statics(self) -> Mapping[str, AdapterRecord]:
        """Return the adapters that the engine came with."""
        return self._statics

    def state(self, record: AdapterRecord) -> tuple[AdapterState, str]:
        """Return where an adapter is, and why its latest load failed."""
        if self._places.holding(record) is not None:
            return "device", ""
        wait = self._wait_of(record)
        if wait is not None:
            return ("host" if wait.supplied is not None or self._supply.is_here(record) else "fetching"), ""
        failed, reason = self._failures.get(record.name, (None, ""))
        if failed is not None and failed.is_same_registration(record):
            return "failed", reason
        return ("host" if self._supply.is_here(record) else "registered"), ""

    def stirring(self) -> set[str]:
        """Return the names of the adapters in state device, fetching or failed, and of a few others perhaps."""
        return {*self._places.stays, *self._places.coming, *self._waits, *self._failures}

    def leases(self, name: str) -> int:
        """Return how many requests use an adapter of that name now."""
        stay = self._places.stays.get(name)
        return stay.leases if stay is not None else 0

    def engine_started(self, static: Iterable[AdapterRecord]) -> None:
        """Note that the engine was started anew: on its device are only the adapters it came with."""
        self.engine_ended()
        self._statics = {record.name: record for record in static}
        self._places.stays.update({name: Stay(record) for name, record in self._statics.items()})
        self.place()

    def engine_ended(self) -> None:
        """Note that the engine is gone, and what was on its device with it."""
        self._epoch += 1
        for name in list(self._places.stays):
            self._forget_stay(name)

    def claim(self, record: AdapterRecord) -> Claim:
        """Want an adapter; its load begins at once. Raises `Overloaded` when what is pinned leaves no room for it."""
        claim = Claim(self, record.name)
        self._policy.used(record.name)
        stay = self._places.holding(record)
        if stay is not None and not stay.is_closed:
            claim.settle(stay)
            return claim
        self._places.check_room(record)
        (self._wait_of(record) or self._new_wait(record)).claims.add(claim)
        return claim

    def give_up(self, claim: Claim) -> None:
        """Take out a claim that was never settled."""
        for waits in (self._waits, self._places.coming):
            if claim.name in waits:
                waits[claim.name].claims.discard(claim)
        wait = self._waits.get(claim.name)
        if wait is not None and not wait.claims and (wait.supplied is not None or self._supply.is_busy):
            self._abandon(wait)

    async def load(self, record: AdapterRecord) -> None:
        """Bring an adapter onto the device now. Raises `Overloaded` when all are in use, and why a load fails."""
        if record.name not in self._places.stays and self._places.victims(record) is None:
            self._places.refuse(record)
        claim = self.claim(record)
        try:
            await claim.wait()
        finally:
            claim.release()

    async def unload(self, name: str) -> None:
        """Take an adapter off the device; does nothing when it is not there.

        Raises `PreconditionFailed` while requests use it or the engine loads it.
        """
        stay = self._places.stays.get(name)
        if stay is not None and stay.record.is_static:
            raise PreconditionFailed(
                f"adapter {name!r} came with the engine and stays as long as the engine runs", reason="ADAPTER_STATIC"
            )
        self._check_unused(name)
        self._failures.pop(name, None)
        wait = self._waits.get(name)
        if wait is not None:
            self._abandon(wait)
        if stay is not None and name not in self._places.leaving:
            await self._remove(stay, "unloaded")
            self.place()

    def _check_unused(self, name: str) -> None:
        held = (self._places.stays.get(name), self._places.coming.get(name), self._waits.get(name))
        users = sum(len(each.claims) + (each.leases if isinstance(each, Stay) else 0) for each in held if each)
        if users or name in self._places.coming:
            found = f"in use by {users} requests" if users else "being loaded"
            raise PreconditionFailed(
                f"adapter {name!r} is {found}, expected that nobody uses it", reason="ADAPTER_IN_USE"
            )

    def removed(self, name: str) -> None:
        """Note that an adapter is no longer registered: it leaves the device once nobody uses it."""
        self._supply.forget(name)
        self._failures.pop(name, None)
        self._has_gone = True
        self.place()

    def changed(self, name: str) -> None:
        """Note that the registry has another record: the adapter may be pinned no more, or have been replaced."""
        if name not in self._places.stays and name not in self._places.coming:
            return
        self._has_gone = self._has_gone or self._places.has_gone()
        if self._waits or self._has_gone:
            asyncio.get_running_loop().call_soon(self.place)  # who tells of it may be in the midst of a change

    def released(self) -> None:
        """Note that an adapter is used by one request less."""
        if self._waits or self._has_gone:
            self.place()

    async def close(self) -> None:
        """End every load."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def place(self) -> None:
        """Bring what is waited for onto the device, the longest waited for first, as far as there is room.

        Whom others cannot make room for holds up nobody: it waits until its old weights are idle, or room is unpinned.
        """
        if self._has_gone:
            self._sweep()
        for wait in list(self._waits.values()):
            name = wait.record.name
            if wait.supplied is None or name in self._places.leaving or name in self._places.coming:
                continue
            stay = self._places.holding(wait.record)
            if stay is not None:
                self._reopen(stay)
                continue
            victims = self._places.victims(wait.record)
            if victims is not None:
                self._begin(wait, victims)
            elif self._places.can_make_room(wait.record):
                self._be_patient(wait)
                return

    def _wait_of(self, record: AdapterRecord) -> Wait | None:
        """Return the wait for an adapter as it is registered; one for what its name was before is none."""
        for waits in (self._waits, self._places.coming):
            wait = waits.get(record.name)
            if wait is not None and wait.record.is_same_registration(record):
                return wait
        return None

    def _new_wait(self, record: AdapterRecord) -> Wait:
        """Begin to wait for an adapter; who still waits for what its name was before waits in vain."""
        stale = self._waits.get(record.name)
        if stale is not None:
            self._abandon(stale, NotFound("adapter", record.name, hint="It was removed while the request waited."))
        if self._supply.is_busy and not self._supply.is_here(record):
            for unwanted in [wait for wait in self._waits.values() if not wait.claims]:
                self._abandon(unwanted)
        return self._enqueue(record, set())

    def _enqueue(self, record: AdapterRecord, claims: set[Claim]) -> Wait:
        wait = self._waits[record.name] = Wait(record, asyncio.get_running_loop().time(), claims)
        wait.obtaining = self._spawn(self._obtain(wait))
        return wait

    def _abandon(self, wait: Wait, error: BellhousingError | None = None) -> None:
        """End a wait; whoever is still in it gets the error."""
        self._end_wait(wait)
        for claim in wait.claims:
            claim.settle(None, error)
        if wait.claims:
            self._around.ready()

    def _begin(self, wait: Wait, victims: list[Stay]) -> None:
        self._places.coming[wait.record.name] = self._waits.pop(wait.record.name)
        self._places.leaving.update(victim.record.name for victim in victims)
        self._spawn(self._bring(wait, victims))
        for name, stay in self._places.stays.items():  # whoever was to go and need not any more
            if stay.is_closed and name not in self._places.leaving:
                self._reopen(stay)

    def _sweep(self) -> None:
        """Begin to unload what nobody uses and is no longer registered."""
        for stay in self._places.unused_and_gone():
            self._places.leaving.add(stay.record.name)
            self._spawn(self._sweep_out(stay))
        self._has_gone = self._places.has_gone()

    async def _sweep_out(self, stay: Stay) -> None:
        await self._remove(stay, "unloaded")
        self.place()

    def _be_patient(self, wait: Wait) -> None:
        """Close a popular adapter to new requests once another was waited for too long; look again later until then."""
        loop = asyncio.get_running_loop()
        left = wait.since + self._patience - loop.time()
        if left > 0:
            if self._timer is None or self._timer.cancelled() or self._timer.when() <= loop.time():
                self._timer = loop.call_later(left, self.place)
            return
        popular = self._places.to_close(self._waits)
        if popular is not None:
            self._close(popular)

    def _close(self, stay: Stay) -> None:
        """Give a stay no new leases; those who were about to take one wait again, behind the others."""
        stay.is_closed = True
        if stay.claims:
            claims, stay.claims = stay.claims, set()
            for claim in claims:
                claim.settle(None)
            now = self._around.current(stay.record.name)
            self._enqueue(now if now is not None and stay.matches(now) else stay.record, claims)
        if stay.is_idle:
            asyncio.get_running_loop().call_soon(self.place)

    def _reopen(self, stay: Stay) -> None:
        stay.is_closed = False
        wait = self._waits.get(stay.record.name)
        if wait is not None and stay.matches(wait.record):
            self._settle(wait, stay)

    def _settle(self, wait: Wait, stay: Stay) -> None:
        self._end_wait(wait)
        for claim in wait.claims:
            claim.settle(stay)
        self._around.ready()

    def _end_wait(self, wait: Wait) -> None:
        """Forget a wait, the fetch that it may be about, and what it has unless that is on the device."""
        name = wait.record.name
        for waits in (self._waits, self._places.coming):
            if waits.get(name) is wait:
                del waits[name]
        if wait.obtaining is not None:
            wait.obtaining.cancel()  # a fetch may go on that has nobody to tell; what is done already is not harmed
        supplied, wait.supplied = wait.supplied, None
        stay = self._places.stays.get(name)
        if supplied is not None and (stay is None or stay.supplied is not supplied):
            supplied.release()

    def _fail(self, wait: Wait, error: BellhousingError, seconds: float) -> None:
        self._failures[wait.record.name] = (wait.record, error.message)
        self._end_wait(wait)
        self._around.changed(wait.record.name, "load_failed", seconds)
        for claim in wait.claims:
            claim.settle(None, error)
        self._around.ready()
        self.place()

    async def _obtain(self, wait: Wait) -> None:
        """Get the files of what is waited for."""
        began = time.monotonic()
        try:
            supplied = await self._supply.obtain(wait.record)
            await self._noted(wait, supplied)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._fail(wait, as_ours(error), time.monotonic() - began)
            return
        wait.supplied = supplied
        if not wait.claims:
            self._end_wait(wait)
        self.place()

    async def _noted(self, wait: Wait, supplied: Supplied) -> None:
        """Keep what a first fetch found; only now the size is known for certain, and whether there can be room."""
        try:
            if supplied.contents is not None:
                wait.record = await self._around.fetched(wait.record, supplied)
            self._places.check_room(wait.record)
        except BaseException:
            supplied.release()
            raise

    async def _bring(self, wait: Wait, victims: list[Stay]) -> None:
        """Put an adapter into the place of its victims."""
        began, epoch, record = time.monotonic(), self._epoch, wait.record
        try:
            for victim in victims:
                await self._remove(victim, "evicted" if victim.record.name != record.name else "unloaded")
            stay = await self._loaded(wait)
            self._check_epoch(epoch)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._places.leaving -= {v.record.name for v in victims if v.record.name in self._places.stays}
            self._fail(wait, as_ours(error), time.monotonic() - began)
            return
        self._places.stays[record.name] = stay
        self._policy.brought(record.name)
        self._failures.pop(record.name, None)
        self._around.changed(record.name, "loaded", time.monotonic() - began)
        if reloads := self._thrash.loaded(record.name):
            self._around.thrashing(reloads)
        self._settle(wait, stay)
        self.place()

    async def _loaded(self, wait: Wait) -> Stay:
        if wait.supplied is None:
            raise RuntimeError(f"adapter {wait.record.name!r} has no files")
        await load_verified(self._around.backend(), wait.record, wait.supplied)
        return Stay(wait.record, wait.supplied)

    def _check_epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            raise EngineUnavailable("the engine ended while an adapter was being loaded")

    async def _remove(self, stay: Stay, change: AdapterChange) -> None:
        name, began = stay.record.name, time.monotonic()
        self._places.leaving.add(name)
        try:
            await self._around.backend().unload_adapter(name)
        except Exception:
            self._places.leaving.discard(name)
            raise
        if self._places.stays.get(name) is stay:
            self._forget_stay(name)
        if change == "evicted":
            self._thrash.evicted(name)
        self._around.changed(name, change, time.monotonic() - began)

    def _forget_stay(self, name: str) -> None:
        stay = self._places.stays.pop(name)
        self._places.leaving.discard(name)
        self._policy.left(name)
        if stay.supplied is not None:
            stay.supplied.release()

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("an adapter could not be unloaded", exc_info=task.exception())
