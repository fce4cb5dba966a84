"""The adapters of one model: the registry's records of it, joined with what is on its device."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice

from bellhousing.adapters.batches import Batches
from bellhousing.adapters.catalogue import Catalogue, Change, Watch
from bellhousing.adapters.changes import Changes
from bellhousing.adapters.claims import Claim, NoWish, Wish
from bellhousing.adapters.device import Device, Surroundings
from bellhousing.adapters.files import Contents, adapters_in
from bellhousing.adapters.policies import POLICIES, PolicyName
from bellhousing.adapters.record import STATIC_SOURCE, STIRRING, AdapterRecord
from bellhousing.adapters.registration import DESCRIBED, Registration, described
from bellhousing.adapters.room import Room
from bellhousing.adapters.supply import Supplied, Supply
from bellhousing.adapters.views import AdapterView, Filter, without_details
from bellhousing.backend import Backend
from bellhousing.errors import BellhousingError, NotFound, PreconditionFailed
from bellhousing.hookspecs import AdapterChange

MOST_NEAR = 200
"""Names that are compared with one that is not known; more would take the event loop for too long."""
IMPORT_BATCH = 256
MOST_AT_ONCE = 64 << 20
"""Bytes of a source that is looked at together with others."""


class Large:
    """What is found of a source that is too large to be looked at together with others."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told: of a change (name, what, seconds), of claims that may be ready, of thrashing (reloads a minute)."""

    changed: Callable[[str, AdapterChange, float], None] = lambda *_: None
    ready: Callable[[], None] = lambda: None
    thrashing: Callable[[int], None] = lambda _: None


class Adapters:
    """The adapters of one model. A name that is not known is `NotFound`, which tells only what the tenant may know."""

    def __init__(
        self,
        model: str,
        catalogue: Catalogue,
        supply: Supply,
        room: Room,
        policy: PolicyName,
        backend: Callable[[], Backend],
        listeners: Listeners,
    ) -> None:
        self._model = model
        self._catalogue = catalogue
        self._supply = supply
        self._shelf = catalogue.shelf(model)
        self._shelf.listen(self._heard)
        self._base_digest = ""
        self._looks = Batches(self._look)
        self._reading = asyncio.Lock()
        self._listeners = listeners
        around = Surroundings(
            backend, self._current, self._fetched, self._changed, listeners.ready, listeners.thrashing
        )
        self._device = Device(room, POLICIES[policy](room.slots), supply, around)

    async def engine_started(self, base_digest: str, static: Mapping[str, str]) -> None:
        """Note that the engine was started anew, with a model and the adapters it came with, name to digest.

        Opens the registry, unless it is one that nobody has used yet. Raises what opening it raises, and
        `ConfigurationError` when there is no place for what is fetched.
        """
        await asyncio.to_thread(self._supply.prepare)
        self._base_digest = base_digest
        self._device.engine_started(
            AdapterRecord(self._model, name, STATIC_SOURCE, digest, pinned=True, load_count=1)
            for name, digest in static.items()
        )
        await self._catalogue.open_if_there()

    def engine_ended(self) -> None:
        """Note that the engine is gone, and what was on its device with it."""
        self._device.engine_ended()

    async def close(self) -> None:
        """End every load."""
        await self._device.close()

    async def register(self, registration: Registration) -> AdapterView:
        """Make an adapter known; the same name, source and tenant again is fine, and takes the base model of now.

        Raises `InvalidRequest`, `AlreadyExists` when the name belongs to another source or tenant, and
        `PreconditionFailed` for a source that is not allowed, holds no adapter, or has another digest.
        """
        asked = registration.record(self._model, self._base_digest)
        if asked.name in self._device.statics():
            raise PreconditionFailed(f"adapter {asked.name!r} came with the engine", reason="ADAPTER_STATIC")
        known = self._shelf.records.get(asked.name)
        if known is None or known.source != asked.source:
            asked = described(asked, await self._found(asked.source), registration.expected_digest)
        return self._view(await self._catalogue.put(asked, registration.expected_digest))

    async def import_directory(
        self, source: str, template: Registration, prefix: str
    ) -> AsyncIterator[tuple[str, AdapterView | BellhousingError, int]]:
        """Register each adapter directly below a directory under its name; yield name, outcome and how many there are.

        What is wrong with one keeps no other from being registered. Raises `PreconditionFailed` for the directory.
        """
        path = self._supply.path(source)
        folders = await asyncio.to_thread(adapters_in, path)
        for begin in range(0, len(folders), IMPORT_BATCH):
            wanted = [
                replace(template, name=f"{prefix}{folder.name}", source=folder.as_uri())
                for folder in folders[begin : begin + IMPORT_BATCH]
            ]
            for name, outcome in await self._register_all(wanted):
                yield name, outcome, len(folders)

    async def _register_all(self, wanted: list[Registration]) -> list[tuple[str, AdapterView | BellhousingError]]:
        asked = await asyncio.to_thread(lambda: [self._looked_at(each) for each in wanted])
        good = [each for each in asked if isinstance(each, AdapterRecord)]
        kept = iter(await self._catalogue.put_all(good))
        outcomes = [next(kept) if isinstance(each, AdapterRecord) else each for each in asked]
        return [
            (each.name, self._view(outcome) if isinstance(outcome, AdapterRecord) else outcome)
            for each, outcome in zip(wanted, outcomes, strict=True)
        ]

    def _looked_at(self, registration: Registration) -> AdapterRecord | BellhousingError:
        try:
            asked = registration.record(self._model, self._base_digest)
            return described(asked, self._supply.look(asked.source), registration.expected_digest)
        except BellhousingError as error:
            return error

    async def _found(self, source: str) -> Contents | None:
        """Look at a source. Large ones are read by themselves, one after another, so that others need not wait."""
        found = await self._looks.do(source)
        if isinstance(found, Large):
            async with self._reading:
                found = await asyncio.to_thread(self._contents, source)
        if isinstance(found, BellhousingError):
            raise found
        return found

    async def _look(self, sources: Sequence[str]) -> list[Contents | Large | BellhousingError | None]:
        """Look at sources in one thread: each thread of its own would cost more than most adapters take to read."""
        return await asyncio.to_thread(lambda: [self._contents_if_small(source) for source in sources])

    def _contents_if_small(self, source: str) -> Contents | Large | BellhousingError | None:
        return Large() if self._supply.bytes_at(source) > MOST_AT_ONCE else self._contents(source)

    def _contents(self, source: str) -> Contents | BellhousingError | None:
        try:
            return self._supply.look(source)
        except BellhousingError as error:
            return error

    def find(self, name: str, tenant: str | None = None) -> AdapterView:
        """Return an adapter. With a tenant, another tenant's is as unknown as one that does not exist."""
        return self._view(self._known(name, tenant))

    async def look_up(self, name: str, tenant: str | None = None) -> AdapterView:
        """Return an adapter as `find` does, after asking the registry for what is not known here.

        Another tenant's takes as long as one that does not exist.
        """
        record = self._current(name)
        if record is None or not record.is_visible_to(tenant):
            await self._catalogue.catch_up()
        return self.find(name, tenant)

    def page(self, wanted: Filter, after: str, size: int) -> tuple[list[AdapterView], str]:
        """Return at most `size` adapters whose names come after `after`, by name, and where the next page begins."""
        stirs = bool(wanted.states) and STIRRING.issuperset(wanted.states)
        found = self._stirring(after, wanted.prefix) if stirs else self._after(after, wanted.prefix)
        records = filter(wanted.takes_record, found)
        views = (view for view in map(self._view, records) if not wanted.states or view.state in wanted.states)
        page = list(islice(views, size + 1))
        return page[:size], page[size - 1].record.name if len(page) > size else ""

    def resident(self, tenant: str | None = None) -> list[str]:
        """Return the names of the adapters on the device, sorted; with a tenant, of those that it may know of."""
        return self._visible(self._device.names(), tenant)

    def waiting(self, tenant: str | None = None) -> list[str]:
        """Return the names of the adapters that requests wait for, sorted; with a tenant, as `resident`."""
        return self._visible(self._device.waiting(), tenant)

    def told(self, name: str, tenant: str | None, error: BellhousingError) -> BellhousingError:
        """Return what is told of an adapter's failed load: all to operators (None) and its owner, else no message."""
        record = self._current(name)
        if tenant is None or (record is not None and record.tenant and record.tenant == tenant):
            return error
        return without_details(name, error)

    def claim(self, name: str, tenant: str) -> Wish:
        """Want an adapter for a request; its load begins at once. An empty name is the base model.

        Raises `NotFound`, `Overloaded` when all places are pinned, and `PreconditionFailed`, BASE_MODEL_CHANGED.
        """
        if not name:
            return NoWish()
        record = self._usable(self._known(name, tenant))
        if not record.is_static:
            self._shelf.records[name] = record = self._catalogue.note_use(record)
        return self._device.claim(record)

    @asynccontextmanager
    async def lease(self, name: str, tenant: str) -> AsyncIterator[str]:
        """Hold an adapter on the device for the body, loading it when needed; give its digest, empty for no adapter."""
        wish = self.claim(name, tenant)
        try:
            if isinstance(wish, Claim):
                await wish.wait()
            wish.hold()
            yield wish.digest
        finally:
            wish.release()

    async def load(self, name: str) -> AdapterView:
        """Bring an adapter onto the device and return it. Raises what the load raises."""
        record = self._usable((await self.look_up(name)).record)
        await self._device.load(record)
        return self.find(name)

    async def unload(self, name: str, *, forget: bool = False, allow_missing: bool = False) -> None:
        """Take an adapter off the device, and forget it if asked to. Raises `PreconditionFailed` while in use."""
        try:
            await self.look_up(name)
        except NotFound:
            if allow_missing:
                return
            raise
        await self._device.unload(name)
        if forget:
            await self._catalogue.remove(self._model, name)
            self._device.removed(name)

    async def pin(self, name: str, *, pinned: bool) -> AdapterView:
        """Pin an adapter, or free it; it is remembered in the registry."""
        record = (await self.look_up(name)).record
        if record.is_static:
            return self._view(record)
        return self._view(await self._catalogue.change(self._model, name, pinned=pinned))

    def watch(self, wanted: Filter) -> Changes:
        """Return the adapters of now and their changes from now on. `close` it in the end."""
        return Changes(Watch(self._shelf), list(self._after("", wanted.prefix)), self._view, wanted)

    def _stirring(self, name: str, prefix: str) -> Iterator[AdapterRecord]:
        """Yield of the records that `_after` yields those that may be in a state of `STIRRING`."""
        names = (each for each in sorted(self._device.stirring()) if each > name and each.startswith(prefix))
        return filter(None, map(self._current, names))

    def _after(self, name: str, prefix: str) -> Iterable[AdapterRecord]:
        statics = self._device.statics()
        if not statics:
            return self._shelf.after(name, prefix)
        both = {record.name: record for record in self._shelf.after(name, prefix)} | dict(statics)
        return (both[key] for key in sorted(both) if key > name and key.startswith(prefix))

    def _current(self, name: str) -> AdapterRecord | None:
        return self._device.statics().get(name) or self._shelf.records.get(name)

    def _visible(self, names: list[str], tenant: str | None) -> list[str]:
        """Return those that a tenant may know of. Of what was removed and is still in use only operators know."""
        if tenant is None:
            return names
        records = ((name, self._current(name)) for name in names)
        return [name for name, record in records if record is not None and record.is_visible_to(tenant)]

    def _known(self, name: str, tenant: str | None) -> AdapterRecord:
        record = self._current(name)
        if record is None or not record.is_visible_to(tenant):
            raise NotFound("adapter", name, list(self._near(name, tenant)))
        return record

    def _near(self, name: str, tenant: str | None) -> Iterator[str]:
        """Yield names to compare with one that is not known: those that begin as it does, else the first ones."""
        records = islice(self._after("", name[:2]), MOST_NEAR)
        found = [record.name for record in records if record.is_visible_to(tenant)]
        more = islice(self._after("", ""), MOST_NEAR) if not found else ()
        yield from found or (record.name for record in more if record.is_visible_to(tenant))

    def _usable(self, record: AdapterRecord) -> AdapterRecord:
        if record.base_digest and self._base_digest and record.base_digest != self._base_digest:
            raise PreconditionFailed(
                f"adapter {record.name!r} was registered for a model with digest {record.base_digest}, found"
                f" {self._base_digest}",
                reason="BASE_MODEL_CHANGED",
                hint="Add it again to use it with the model of now.",
            )
        return record

    def _view(self, record: AdapterRecord) -> AdapterView:
        state, detail = self._device.state(record)
        me = self._catalogue.replica
        others = self._catalogue.holders.get((self._model, record.name), ())
        replicas = tuple(name for name in others if name != me)
        if state == "device":
            replicas = tuple(sorted((*replicas, me)))
        return AdapterView(record, state, detail, self._device.leases(record.name), replicas)

    async def _fetched(self, record: AdapterRecord, supplied: Supplied) -> AdapterRecord:
        """Keep what a fetch of an adapter found, as long as it is the first or found the same."""
        contents = supplied.contents
        if contents is None:
            return record
        fields = {name: getattr(contents, name) for name in DESCRIBED}
        return await self._catalogue.keep_found(record, **fields)

    def _changed(self, name: str, change: AdapterChange, seconds: float) -> None:
        record = self._shelf.records.get(name)
        if record is not None:
            if change == "loaded":
                self._shelf.records[name] = self._catalogue.note_load(record)
            self._shelf.tell("changed", self._shelf.records[name])
        self._listeners.changed(name, change, seconds)

    def _heard(self, change: Change, record: AdapterRecord) -> None:
        if change == "removed":
            self._device.removed(record.name)
        else:
            self._device.changed(record.name)
