"""The registry as one server sees it: every record in memory, so that a request never waits for a database.

Writes go to the store first and are in memory once the store has acknowledged them. What other replicas write comes
within `sync_seconds`, or at once when a request names an adapter that is not known here.
"""

import asyncio
import logging
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from bellhousing.adapters.batches import Batches
from bellhousing.adapters.record import AdapterRecord, Changes, Key, Outcome
from bellhousing.errors import BellhousingError, Overloaded

if TYPE_CHECKING:
    from bellhousing.adapters.store import Store

logger = logging.getLogger(__name__)
Change = Literal["present", "registered", "changed", "removed"]
MOST_UNREAD = 10_000
MISSED_BEATS, LEAST_BEAT_SECONDS = 3, 5.0
"""A replica is gone when it was not heard of for so many times the longer of its interval and 5 s."""
MISS_SECONDS = 0.2
"""A name that is not known asks the store again at most so often, whoever asks for whatever names."""
Answer = TypeVar("Answer")


class Use(NamedTuple):
    """When an adapter was last used, in Unix seconds, and how often it was loaded."""

    last: float
    loads: int


UNUSED = Use(0.0, 0)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the registry is: a SQLAlchemy URL; `file` is set for the one that is made when it is first needed."""

    url: str
    file: Path | None = None
    is_shared: bool = True


class Shelf:
    """The records of one model, by name and in order, and who is told of their changes."""

    def __init__(self) -> None:
        self.records: dict[str, AdapterRecord] = {}
        self.names: list[str] = []
        self._listeners: set[Callable[[Change, AdapterRecord], None]] = set()

    def after(self, name: str, prefix: str = "") -> Iterator[AdapterRecord]:
        """Yield the records whose names come after `name` and begin with `prefix`, in order."""
        begin = max(bisect_left(self.names, f"{name}\0") if name else 0, bisect_left(self.names, prefix))
        for position in range(begin, len(self.names)):
            name = self.names[position]
            if prefix and not name.startswith(prefix):
                return
            yield self.records[name]

    def take(self, record: AdapterRecord) -> None:
        """Take over a record that the store has, unless a later one is here."""
        known = self.records.get(record.name)
        if known is not None and known.revision >= record.revision:
            return
        if known is None:
            insort(self.names, record.name)
        self.records[record.name] = record
        self.tell("registered" if known is None else "changed", record)

    def drop(self, name: str) -> None:
        """Forget a record."""
        record = self.records.pop(name, None)
        if record is not None:
            del self.names[bisect_left(self.names, name)]
            self.tell("removed", record)

    def tell(self, change: Change, record: AdapterRecord) -> None:
        """Tell the listeners."""
        for listener in tuple(self._listeners):
            listener(change, record)

    def listen(self, listener: Callable[[Change, AdapterRecord], None]) -> Callable[[], None]:
        """Call `listener` with each change; return what ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)


class Catalogue:
    """The registry of a server. `open` it before use, `close` it at the end; both may be called twice."""

    def __init__(self, location: Location, replica: str, sync_seconds: float) -> None:
        self.replica = replica
        self.holders: Mapping[Key, tuple[str, ...]] = {}
        self.held: Callable[[], Iterable[Key]] = tuple
        """Asked for what this server has on its devices."""
        self._location = location
        self._sync_seconds = sync_seconds
        self._shelves: dict[str, Shelf] = {}
        self._store: Store | None = None
        self._revision = -1
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="adapter-registry")
        self._opening = asyncio.Lock()
        self._syncing = asyncio.Lock()
        self._catching = asyncio.Lock()
        self._caught_up = -MISS_SECONDS
        self._used: dict[Key, Use] = {}
        self._writing: dict[Key, Use] = {}
        self._writes = Batches(self._put_together)
        self._beat: asyncio.Task[None] | None = None

    def shelf(self, model: str) -> Shelf:
        """Return the records of a model."""
        return self._shelves.setdefault(model, Shelf())

    async def open_if_there(self) -> None:
        """Open the registry unless it is one that is made when it is first needed, and was not needed yet."""
        if self._location.file is None or await asyncio.to_thread(self._location.file.is_file):
            await self.open()

    async def open(self) -> None:
        """Open the registry and read it. Raises `ConfigurationError` or `EngineUnavailable`."""
        async with self._opening:
            if self._store is not None:
                return
            store = await self._run(_open_store, self._location.url)
            self._take(await self._run(store.changes_since, -1))
            self._store = store
            self._beat = asyncio.create_task(self._keep_in_step())

    async def close(self) -> None:
        """Write what is not written yet and let go of the registry."""
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
        store, self._store = self._store, None
        if store is not None:
            try:
                await self._run(store.note_use, self._used)
                await self._run(store.leave, self.replica)
            except BellhousingError as error:
                logger.warning("the last words to the adapter registry are lost: %s", error)
            await self._run(store.close)
        self._threads.shutdown(wait=False)

    async def put(self, record: AdapterRecord, expected_digest: str = "") -> AdapterRecord:
        """Register an adapter; return the record as kept. Raises what refuses it and what `open` raises.

        Registrations that come together share a transaction.
        """
        outcome = await self._writes.do((record, expected_digest))
        if isinstance(outcome, BellhousingError):
            raise outcome
        return outcome

    async def put_all(self, records: Sequence[AdapterRecord], expected: Sequence[str] = ()) -> list[Outcome]:
        """Register adapters in one transaction, as `Store.put_all` does; return the record or the refusal of each."""
        await self.open()
        outcomes = await self._run(self._opened.put_all, records, expected)
        return [each if isinstance(each, BellhousingError) else self._take_record(each) for each in outcomes]

    async def _put_together(self, asked: Sequence[tuple[AdapterRecord, str]]) -> list[Outcome]:
        return await self.put_all([record for record, _ in asked], [digest for _, digest in asked])

    async def change(self, model: str, name: str, **fields: Any) -> AdapterRecord:
        """Change fields of a record. Raises `NotFound` when another replica has removed it."""
        await self.open()
        return self._take_record(await self._run(lambda: self._opened.change(model, name, **fields)))

    async def keep_found(self, record: AdapterRecord, **fields: Any) -> AdapterRecord:
        """Set what a fetch of an adapter found. Raises what `Store.keep_found` does."""
        await self.open()
        return self._take_record(await self._run(lambda: self._opened.keep_found(record, **fields)))

    async def remove(self, model: str, name: str) -> bool:
        """Forget an adapter; return whether there was one."""
        await self.open()
        was_there = await self._run(self._opened.remove, model, name)
        self._drop(model, name)
        return was_there

    async def catch_up(self) -> None:
        """Take over what others wrote until now. Calls that come together share one look at the store."""
        asked = time.monotonic()
        if not self._location.is_shared:
            return
        try:
            await self.open_if_there()
            async with self._catching:
                if self._store is None or self._caught_up > asked:
                    return
                await asyncio.sleep(self._caught_up + MISS_SECONDS - time.monotonic())
                self._caught_up = time.monotonic()
                await self._sync()
        except BellhousingError as error:
            logger.warning("adapters are looked up as last known: %s", error)

    def note_use(self, record: AdapterRecord) -> AdapterRecord:
        """Note that a request used an adapter now; the store hears of it within `sync_seconds`."""
        return self._note(record, Use(time.time(), 0))

    def note_load(self, record: AdapterRecord) -> AdapterRecord:
        """Note that an adapter was brought onto the device; the store hears of it within `sync_seconds`."""
        return self._note(record, Use(0.0, 1))

    def _note(self, record: AdapterRecord, use: Use) -> AdapterRecord:
        _add(self._used, (record.model, record.name), use)
        return _with_use(record, use)

    @property
    def _opened(self) -> "Store":
        if self._store is None:
            raise RuntimeError("the catalogue is closed")
        return self._store

    async def _keep_in_step(self) -> None:
        """Read what others wrote and tell what is here, until cancelled; a store that is away is tried again."""
        is_away = False
        while True:
            try:
                await self._exchange()
                is_away = False
            except BellhousingError as error:
                if not is_away:
                    logger.warning("adapters are served as last known: %s", error)
                is_away = True
            await asyncio.sleep(self._sync_seconds)

    async def _exchange(self) -> None:
        if self._used:
            await self._write_use()
        if self._location.is_shared:
            lasting = MISSED_BEATS * max(self._sync_seconds, LEAST_BEAT_SECONDS)
            await self._run(self._opened.beat, self.replica, list(self.held()), time.time(), lasting)
            self.holders = await self._run(self._opened.holders, time.time())
            await self._sync()

    async def _write_use(self) -> None:
        """Add to the store's statistics. What it fails to take is kept, also when this is cancelled meanwhile."""
        write = asyncio.ensure_future(self._written())
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError:
            with suppress(BellhousingError):
                await write
            raise

    async def _written(self) -> None:
        self._writing, self._used = self._used, {}
        try:
            await self._run(self._opened.note_use, self._writing)
        except BellhousingError:
            for key, use in self._writing.items():
                _add(self._used, key, use)
            raise
        finally:
            self._writing = {}

    async def _sync(self) -> None:
        async with self._syncing:
            self._take(await self._run(self._opened.changes_since, self._revision))

    def _take(self, changes: Changes) -> None:
        if changes.is_whole:
            there = {(record.model, record.name) for record in changes.records}
            for model, shelf in self._shelves.items():
                for name in [name for name in shelf.names if (model, name) not in there]:
                    self._drop(model, name)
        for model, name in changes.removed:
            self._drop(model, name)
        for record in changes.records:
            self._take_record(record)
        self._revision = changes.revision

    def _take_record(self, record: AdapterRecord) -> AdapterRecord:
        """Take over a record of the store, with the uses that the store was not told of yet; return what is known."""
        key = (record.model, record.name)
        for pending in (self._writing, self._used):
            record = _with_use(record, pending.get(key, UNUSED))
        shelf = self.shelf(record.model)
        shelf.take(record)
        return shelf.records[record.name]

    def _drop(self, model: str, name: str) -> None:
        self.shelf(model).drop(name)
        self._used.pop((model, name), None)

    async def _run(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _add(uses: dict[Key, Use], key: Key, more: Use) -> None:
    known = uses.get(key, UNUSED)
    uses[key] = Use(max(known.last, more.last), known.loads + more.loads)


def _with_use(record: AdapterRecord, use: Use) -> AdapterRecord:
    if use == UNUSED:
        return record
    return replace(record, last_used=max(record.last_used, use.last), load_count=record.load_count + use.loads)


def _open_store(url: str) -> "Store":
    from bellhousing.adapters.store import Store  # SQLAlchemy takes a quarter of a second that most servers never need

    return Store(url)


class Watch:
    """The changes of a model's adapters from now on, in order; at most `MOST_UNREAD` wait for a slow reader."""

    def __init__(self, shelf: Shelf) -> None:
        self._queue: asyncio.Queue[tuple[Change, AdapterRecord]] = asyncio.Queue(MOST_UNREAD)
        self._is_behind = False
        self._end = shelf.listen(self._note)

    def close(self) -> None:
        """Hear no more."""
        self._end()

    async def next(self) -> tuple[Change, AdapterRecord]:
        """Return the next change. Raises `Overloaded` when the reader was too slow to be told all of them."""
        if self._is_behind and self._queue.empty():
            raise Overloaded(
                f"more than {MOST_UNREAD} changes waited for the reader: watch again to begin anew",
                reason="WATCH_TOO_SLOW",
                retry_after=1.0,
            )
        return await self._queue.get()

    def _note(self, change: Change, record: AdapterRecord) -> None:
        if self._is_behind:
            return
        try:
            self._queue.put_nowait((change, record))
        except asyncio.QueueFull:
            self._is_behind = True
