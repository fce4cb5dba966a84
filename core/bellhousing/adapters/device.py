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
from bellhousing.adapters.files import verify
from bellhousing.adapters.policies import Policy
from bellhousing.adapters.record import AdapterRecord, AdapterState
from bellhousing.adapters.supply import Supplied, Supply
from bellhousing.adapters.thrash import ThrashDetector
from bellhousing.backend import AdapterFiles, Backend
from bellhousing.errors import BellhousingError, EngineFault, EngineUnavailable, Overloaded, PreconditionFailed
from bellhousing.hookspecs import AdapterChange

logger = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    """What the device may hold, and how many seconds a wanted adapter waits for popular ones. None is no bound."""

    slots: int
    most_bytes: int | None = None
    patience: float = 2.0


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
        self._room = room
        self._policy = policy
        self._supply = supply
        self._around = around
        self._stays: dict[str, Stay] = {}
        self._statics: Mapping[str, AdapterRecord] = {}
        self._waits: dict[str, Wait] = {}
        self._has_removed = False
        self._leaving: set[str] = set()
        self._failures: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._epoch = 0
        self._thrash = ThrashDetector(room.slots, time.monotonic)

    def names(self) -> list[str]:
        """Return the names of the adapters on the device, sorted."""
        return sorted(name for name in self._stays if name not in self._leaving)

    def waiting(self) -> list[str]:
        """Return the names of the adapters that requests wait for, sorted."""
        return sorted(name for name, wait in self._waits.items() if wait.claims)

    def statics(self) -> Mapping[str, AdapterRecord]:
        """Return the adapters that the engine came with."""
        return self._statics

    def state(self, record: AdapterRecord) -> tuple[AdapterState, str]:
        """Return where an adapter is, and why its latest load failed."""
        if record.name in self._stays and record.name not in self._leaving:
            return "device", ""
        wait = self._waits.get(record.name)
        if wait is not None:
            return ("host" if wait.supplied is not None or self._supply.is_here(record) else "fetching"), ""
        if record.name in self._failures:
            return "failed", self._failures[record.name]
        return ("host" if self._supply.is_here(record) else "registered"), ""

    def stirring(self) -> set[str]:
        """Return the names of the adapters in state device, fetching or failed, and of a few others perhaps."""
        return {*self._stays, *self._waits, *self._failures}

    def leases(self, name: str) -> int:
        """Return how many requests use an adapter now."""
        return self._stays[name].leases if name in self._stays else 0

    def engine_started(self, static: Iterable[AdapterRecord]) -> None:
        """Note that the engine was started anew: on its device are only the adapters it came with."""
        self._epoch += 1
        for name in list(self._stays):
            self._forget_stay(name)
        self._statics = {record.name: record for record in static}
        self._stays = {name: Stay(record) for name, record in self._statics.items()}
        self.place()

    def claim(self, record: AdapterRecord) -> Claim:
        """Want an adapter; its load begins at once. Raises `Overloaded` when all places are pinned."""
        name, claim = record.name, Claim(self, record.name)
        self._policy.used(name)
        stay = self._stays.get(name)
        if stay is not None and self._serves(stay, record):
            claim.settle(stay)
            return claim
        self._check_not_all_pinned(name)
        wait = self._waits.get(name)
        if wait is None:
            wait = self._waits[name] = Wait(record, asyncio.get_running_loop().time())
            self._spawn(self._obtain(wait))
        wait.claims.add(claim)
        return claim

    def give_up(self, claim: Claim) -> None:
        """Take out a claim that was never settled."""
        wait = self._waits.get(claim.name)
        if wait is not None:
            wait.claims.discard(claim)
            if not wait.claims and wait.supplied is not None and not wait.is_loading:
                self._end_wait(wait)

    async def load(self, record: AdapterRecord) -> None:
        """Bring an adapter onto the device now. Raises `Overloaded` when all are in use, and why a load fails."""
        if record.name not in self._stays and self._victims(record) is None:
            self._refuse()
        claim = self.claim(record)
        try:
            await claim.wait()
        finally:
            claim.release()

    async def unload(self, name: str) -> None:
        """Take an adapter off the device; does nothing when it is not there. Raises `PreconditionFailed` in use."""
        stay = self._stays.get(name)
        if stay is not None and stay.record.is_static:
            raise PreconditionFailed(
                f"adapter {name!r} came with the engine and stays as long as the engine runs", reason="ADAPTER_STATIC"
            )
        wait = self._waits.get(name)
        users = (stay.leases + len(stay.claims) if stay else 0) + (len(wait.claims) if wait else 0)
        if users:
            raise PreconditionFailed(
                f"adapter {name!r} is in use by {users} requests, expected none", reason="ADAPTER_IN_USE"
            )
        self._failures.pop(name, None)
        if stay is not None and name not in self._leaving:
            await self._remove(stay, "unloaded")
            self.place()

    def removed(self, name: str) -> None:
        """Note that an adapter is no longer registered: it leaves the device once nobody uses it."""
        self._supply.forget(name)
        self._failures.pop(name, None)
        self._has_removed = True
        self.place()

    def released(self) -> None:
        """Note that an adapter is used by one request less."""
        if self._waits or self._has_removed:
            self.place()

    async def close(self) -> None:
        """End every load."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def place(self) -> None:
        """Bring what is waited for onto the device, the longest waited for first, as far as there is room."""
        if self._has_removed:
            self._sweep()
        for wait in list(self._waits.values()):
            stay = self._stays.get(wait.record.name)
            if wait.is_loading or wait.supplied is None or wait.record.name in self._leaving:
                continue
            if stay is not None and self._matches(stay, wait.record):
                self._reopen(stay)
                continue
            victims = self._victims(wait.record)
            if victims is None:
                self._be_patient(wait)
                return
            self._begin(wait, victims)

    def _begin(self, wait: Wait, victims: list[Stay]) -> None:
        wait.is_loading = True
        for victim in victims:
            self._leaving.add(victim.record.name)
        self._spawn(self._bring(wait, victims))
        for stay in self._stays.values():  # whoever was to go and need not any more
            if stay.is_closed and stay.record.name not in self._leaving:
                self._reopen(stay)

    def _sweep(self) -> None:
        """Begin to unload what nobody uses and is no longer registered."""
        gone = [s for n, s in self._stays.items() if not s.record.is_static and self._around.current(n) is None]
        self._has_removed = bool(gone)
        for stay in gone:
            if stay.is_idle and stay.record.name not in self._leaving:
                self._leaving.add(stay.record.name)
                self._spawn(self._remove(stay, "unloaded"))

    def _serves(self, stay: Stay, record: AdapterRecord) -> bool:
        return not stay.is_closed and record.name not in self._leaving and self._matches(stay, record)

    @staticmethod
    def _matches(stay: Stay, record: AdapterRecord) -> bool:
        """Tell whether what is on the device has the weights of the record."""
        held = stay.record
        return held.is_static or (held.digest, held.config_digest) == (record.digest, record.config_digest)

    def _victims(self, record: AdapterRecord) -> list[Stay] | None:
        """Return who must go to make room for an adapter; None when too few can."""
        others = {name: stay for name, stay in self._stays.items() if not stay.record.is_static}
        coming = {n: w.record for n, w in self._waits.items() if w.is_loading and n != record.name}
        gone, staying = list[Stay](), {n: s for n, s in others.items() if n not in self._leaving and n not in coming}
        replaced = staying.pop(record.name, None)
        if replaced is not None:
            if not replaced.is_idle:
                return None
            gone.append(replaced)
        idle: set[str] | None = None
        while not self._fits(record, [*coming.values(), *(stay.record for stay in staying.values())]):
            if idle is None:
                idle = {n for n, s in staying.items() if s.is_idle and not self._is_pinned(n)}
            if not idle:
                return None
            name = self._policy.victim(idle)
            idle.discard(name)
            gone.append(staying.pop(name))
        return gone

    def _fits(self, record: AdapterRecord, others: list[AdapterRecord]) -> bool:
        if len(others) + 1 > self._room.slots:
            return False
        most = self._room.most_bytes
        # An adapter larger than the bound is alone.
        return most is None or not others or sum(r.size_bytes for r in others) + record.size_bytes <= most

    def _is_pinned(self, name: str) -> bool:
        record = self._around.current(name)
        return record is not None and record.pinned

    def _check_not_all_pinned(self, name: str) -> None:
        if name in self._stays or len(self._stays) < self._room.slots:
            return
        if sum(map(self._is_pinned, self._stays)) >= self._room.slots:
            self._refuse()

    def _refuse(self) -> None:
        raise Overloaded(
            f"all {self._room.slots} adapters on the device are pinned or in use",
            reason="ADAPTER_SLOTS_FULL",
            retry_after=RETRY_SECONDS,
        )

    def _be_patient(self, wait: Wait) -> None:
        """Close a popular adapter to new requests once another was waited for too long; look again later until then."""
        loop = asyncio.get_running_loop()
        left = wait.since + self._room.patience - loop.time()
        if left > 0:
            if self._timer is None or self._timer.cancelled() or self._timer.when() <= loop.time():
                self._timer = loop.call_later(left, self.place)
            return
        open_ones = {
            name for name, stay in self._stays.items()
            if not (stay.is_closed or stay.record.is_static or name in self._leaving or self._is_pinned(name))
        }  # fmt: skip
        if open_ones and not any(s.is_closed and n not in self._leaving for n, s in self._stays.items()):
            self._close(self._stays[self._policy.victim(open_ones)])

    def _close(self, stay: Stay) -> None:
        """Give a stay no new leases; those who were about to take one wait again, behind the others."""
        stay.is_closed = True
        name = stay.record.name
        if stay.claims:
            claims, stay.claims = stay.claims, set()
            wait = self._waits[name] = Wait(stay.record, asyncio.get_running_loop().time(), claims)
            for claim in claims:
                claim.settle(None)
            self._spawn(self._obtain(wait))
        if stay.is_idle:
            asyncio.get_running_loop().call_soon(self.place)

    def _reopen(self, stay: Stay) -> None:
        stay.is_closed = False
        wait = self._waits.get(stay.record.name)
        if wait is not None and not wait.is_loading and self._matches(stay, wait.record):
            self._settle(wait, stay)

    def _settle(self, wait: Wait, stay: Stay) -> None:
        self._end_wait(wait)
        for claim in wait.claims:
            claim.settle(stay)
        self._around.ready()

    def _end_wait(self, wait: Wait) -> None:
        if self._waits.get(wait.record.name) is wait:
            del self._waits[wait.record.name]
        supplied, wait.supplied = wait.supplied, None
        stay = self._stays.get(wait.record.name)
        if supplied is not None and (stay is None or stay.supplied is not supplied):
            supplied.release()

    def _fail(self, wait: Wait, error: BellhousingError, seconds: float) -> None:
        self._failures[wait.record.name] = error.message
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
            if supplied.contents is not None:
                wait.record = await self._around.fetched(wait.record, supplied)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._fail(wait, self._as_ours(error), time.monotonic() - began)
            return
        wait.supplied = supplied
        if not wait.claims:
            self._end_wait(wait)
        self.place()

    async def _bring(self, wait: Wait, victims: list[Stay]) -> None:
        """Put an adapter into the place of its victims."""
        began, epoch, record = time.monotonic(), self._epoch, wait.record
        try:
            for victim in victims:
                await self._remove(victim, "evicted" if victim.record.name != record.name else "unloaded")
            stay = await self._loaded(wait)
            self._check_epoch(epoch)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._leaving -= {victim.record.name for victim in victims if victim.record.name in self._stays}
            self._fail(wait, self._as_ours(error), time.monotonic() - began)
            return
        self._stays[record.name] = stay
        self._policy.brought(record.name)
        self._failures.pop(record.name, None)
        self._around.changed(record.name, "loaded", time.monotonic() - began)
        if reloads := self._thrash.loaded(record.name):
            self._around.thrashing(reloads)
        self._settle(wait, stay)
        self.place()

    def _check_epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            raise EngineUnavailable("the engine was started anew while an adapter was being loaded")

    async def _loaded(self, wait: Wait) -> Stay:
        """Load an adapter; its files are looked at again, so that what the engine read is what was verified."""
        record, supplied, backend = wait.record, wait.supplied, self._around.backend()
        if supplied is None:
            raise RuntimeError(f"adapter {record.name!r} has no files")
        await backend.load_adapter(AdapterFiles(record.name, str(supplied.path), record.digest, record.config_digest))
        try:
            await asyncio.to_thread(verify, record, supplied.path, supplied.rules, supplied.stamp)
        except BellhousingError:
            await backend.unload_adapter(record.name)
            raise
        return Stay(record, supplied)

    async def _remove(self, stay: Stay, change: AdapterChange) -> None:
        name, began = stay.record.name, time.monotonic()
        self._leaving.add(name)
        try:
            await self._around.backend().unload_adapter(name)
        except Exception:
            self._leaving.discard(name)
            raise
        if self._stays.get(name) is stay:
            self._forget_stay(name)
        if change == "evicted":
            self._thrash.evicted(name)
        self._around.changed(name, change, time.monotonic() - began)

    def _forget_stay(self, name: str) -> None:
        stay = self._stays.pop(name)
        self._leaving.discard(name)
        self._policy.left(name)
        if stay.supplied is not None:
            stay.supplied.release()

    @staticmethod
    def _as_ours(error: Exception) -> BellhousingError:
        if isinstance(error, BellhousingError):
            return error
        logger.error("an adapter could not be loaded", exc_info=error)
        return EngineFault(
            f"the backend failed with {type(error).__name__} while it loaded an adapter, see the server's log",
            reason="BACKEND_DEFECT",
        )

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("an adapter could not be unloaded", exc_info=task.exception())
