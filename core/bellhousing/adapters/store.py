"""The registry's database: what was acknowledged is in it, whatever happens to this process.

Any SQLAlchemy URL will do; replicas that share one see each other's adapters. Only this module and `schema` know SQL,
every value is a bound parameter, and SQLAlchemy is imported when the first registry is opened.
"""

import functools
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, case, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bellhousing.adapters import schema
from bellhousing.adapters.record import AdapterRecord, Changes, Key, Outcome, other_digest
from bellhousing.errors import (
    AlreadyExists,
    BellhousingError,
    ConfigurationError,
    EngineUnavailable,
    NotFound,
    PreconditionFailed,
)

BUSY_SECONDS = 10.0
REPLICA_SECONDS = 15.0
"""A replica that was not heard of for so long is gone, and so is what it held; longer for one that seldom speaks."""
REMOVAL_SECONDS = 86_400.0
"""How long a removal is listed; who asks for older changes reads the registry anew."""
LISTS = ("target_modules", "tags")
SHARED = ("model", "config_digest", "base_model", "base_digest", "tenant")
RETRY_SECONDS = 1.0


class Store:
    """One registry. Its methods block and may be called from any thread.

    They raise `EngineUnavailable` with reason REGISTRY_UNAVAILABLE when the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        """Open the registry at a URL, and make it where there is none.

        Raises `ConfigurationError` for a URL, a driver or a file that cannot be used.
        """
        self._engine = _engine(url)
        # A database in memory has one connection, which threads must not share at the same time.
        self._one_at_a_time = threading.Lock()
        with _database_errors():
            try:
                with self._engine.begin() as connection:
                    schema.prepare(connection)
            except SQLAlchemyError:
                # Another replica made the tables in the same instant, or it is a real failure, which comes again.
                with self._engine.begin() as connection:
                    schema.prepare(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def put_all(self, records: Sequence[AdapterRecord], expected: Sequence[str] = ()) -> list[Outcome]:
        """Register adapters in one transaction; return for each the record as kept or why it was refused.

        The same name, source and tenant again is fine: new tags replace the old, a pin is set, a new base is taken, and
        all else stays. Another source or tenant is `AlreadyExists`; another digest than the `expected` one, where that
        is not empty, is `PreconditionFailed`. What is refused changes nothing.
        """
        with self._writing() as (connection, before):
            revision, known = before, _by_key(connection, records)
            outcomes, changed = list[Outcome](), dict[Key, AdapterRecord]()
            for record, digest in zip(records, expected or [""] * len(records), strict=True):
                key = (record.model, record.name)
                outcome = _merged(known.get(key), record, digest)
                if not isinstance(outcome, BellhousingError) and outcome != known.get(key):
                    revision += 1
                    outcome = changed[key] = known[key] = replace(outcome, revision=revision)
                outcomes.append(outcome)
            _write(connection, list(changed.values()))
            _set_revision(connection, revision)
            return outcomes

    def change(self, model: str, name: str, **fields: Any) -> AdapterRecord:
        """Change fields of a registered adapter and return it. Raises `NotFound`."""
        with self._writing() as (connection, revision):
            known = _by_key(connection, [AdapterRecord(model, name, "")]).get((model, name))
            if known is None:
                raise NotFound("adapter", name)
            return _replaced(connection, revision, known, fields)

    def keep_found(self, record: AdapterRecord, **fields: Any) -> AdapterRecord:
        """Set what a fetch of an adapter found and return its record; the first fetch fixes the digests.

        Raises `NotFound` when it was removed meanwhile, and `PreconditionFailed`, DIGEST_MISMATCH, for other files.
        """
        with self._writing() as (connection, revision):
            known = _by_key(connection, [record]).get((record.model, record.name))
            if known is None or not known.is_same_registration(record):
                raise NotFound("adapter", record.name)
            found = replace(known, **fields)
            if known.digest not in ("", found.digest) or (known.size_bytes and not known.has_weights_of(found)):
                raise PreconditionFailed(
                    f"adapter {record.name!r}: its first fetch fixed digest {known.digest}, found {found.digest}"
                    f" at {record.source}{' with another configuration' if known.digest == found.digest else ''}",
                    reason="DIGEST_MISMATCH",
                )
            return _replaced(connection, revision, known, fields)

    def remove(self, model: str, name: str) -> bool:
        """Forget an adapter; return whether there was one."""
        table, gone, now = schema.adapters, schema.removals, time.time()
        with self._writing() as (connection, revision):
            where = (table.c.model == model) & (table.c.name == name)
            if not connection.execute(table.delete().where(where)).rowcount:
                return False
            connection.execute(gone.delete().where((gone.c.model == model) & (gone.c.name == name)))
            connection.execute(gone.insert().values(model=model, name=name, revision=revision + 1, removed=now))
            _forget_removals(connection, now - REMOVAL_SECONDS)
            _set_revision(connection, revision + 1)
            return True

    def changes_since(self, revision: int) -> Changes:
        """Return what changed after a revision; -1 asks for everything."""
        table, gone = schema.adapters, schema.removals
        with self._reading() as connection:
            now, forgotten = connection.execute(
                select(schema.registry.c.revision, schema.registry.c.forgotten_revision)
            ).one()
            is_whole = revision < forgotten or revision < 0
            if revision >= now:
                return Changes(now)
            # A change made after `now` was read may be here as well; it comes again, which does no harm.
            changed = select(table) if is_whole else select(table).where(table.c.revision > revision)
            records = tuple(_record(dict(row._mapping)) for row in connection.execute(changed))  # noqa: SLF001 - public
            removed = connection.execute(select(gone.c.model, gone.c.name).where(gone.c.revision > revision)).all()
            return Changes(now, records, tuple((row.model, row.name) for row in removed), is_whole)

    def note_use(self, used: Mapping[Key, tuple[float, int]]) -> None:
        """Add to statistics: for each adapter when it was last used, in Unix seconds, and how many loads to add.

        A use before the latest one known changes nothing, nor does 0. It is no change that `changes_since` tells.
        """
        table = schema.adapters
        with self._writing() as (connection, _):
            for (model, name), (last_used, loads) in sorted(used.items()):
                where = (table.c.model == model) & (table.c.name == name)
                latest = case((table.c.last_used < last_used, last_used), else_=table.c.last_used)
                values = {"last_used": latest, "load_count": table.c.load_count + loads}
                connection.execute(table.update().where(where).values(values))

    def beat(self, replica: str, held: Iterable[Key], now: float, lasting: float = REPLICA_SECONDS) -> None:
        """Tell that a replica lives, for some seconds, and what is on its device; forget replicas that are gone."""
        table, held_by = schema.replicas, schema.residents
        with self._writing() as (connection, _):
            is_gone = (table.c.until < now) | (table.c.replica == replica)
            gone = sorted(connection.execute(select(table.c.replica).where(is_gone)).scalars())
            connection.execute(held_by.delete().where(held_by.c.replica.in_([*gone, replica])))
            connection.execute(table.delete().where(table.c.replica.in_([*gone, replica])))
            connection.execute(table.insert().values(replica=replica, until=now + lasting))
            rows = [{"replica": replica, "model": model, "name": name} for model, name in held]
            if rows:
                connection.execute(held_by.insert(), rows)

    def leave(self, replica: str) -> None:
        """Forget a replica that ends."""
        with self._writing() as (connection, _):
            for table in (schema.residents, schema.replicas):
                connection.execute(table.delete().where(table.c.replica == replica))

    def holders(self, now: float) -> dict[Key, tuple[str, ...]]:
        """Return the living replicas that hold each adapter on their device, by name."""
        held_by, alive = schema.residents, schema.replicas
        with self._reading() as connection:
            rows = connection.execute(
                select(held_by)
                .join(alive, alive.c.replica == held_by.c.replica)
                .where(alive.c.until >= now)
                .order_by(held_by.c.replica)
            ).all()
        found: dict[Key, tuple[str, ...]] = {}
        for row in rows:
            key = (row.model, row.name)
            found[key] = (*found.get(key, ()), row.replica)
        return found

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _database_errors(), self._one_at_a_time, self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, int]]:
        """Yield a transaction that no other writer is beside, and the revision before it."""
        table = schema.registry
        with _database_errors(), self._one_at_a_time, self._engine.begin() as connection:
            connection.execute(table.update().values(revision=table.c.revision + 0))  # takes the lock
            yield connection, int(connection.execute(select(table.c.revision)).scalar_one())


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        options: dict[str, Any] = {"pool_pre_ping": True}
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if is_sqlite and parsed.database in (None, "", ":memory:"):
            options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        elif is_sqlite:
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            options = {"connect_args": {"timeout": BUSY_SECONDS}}
        engine = create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"adapters.registry {_shown(url)}: expected a SQLAlchemy URL such as postgresql+psycopg://host/name,"
            f" found: {error}",
            reason="BAD_REGISTRY_URL",
        ) from error
    except ImportError as error:
        raise ConfigurationError(
            f"adapters.registry {_shown(url)} needs the driver {error.name}, found none",
            reason="NO_DATABASE_DRIVER",
            hint=f"Install it with `pip install {error.name}`.",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"adapters.registry {_shown(url)}: cannot make its directory: {error.strerror}", reason="BAD_REGISTRY_URL"
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _shown(url: str) -> str:
    """Return a URL without its password, for messages."""
    try:
        return repr(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return "(not shown: it may hold a password)"


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers go on beside a writer; a kill loses nothing, a power cut may lose the last writes, never more."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _database_errors() -> Iterator[None]:
    """Translate what the database and its driver raise."""
    try:
        yield
    except DatabaseError as error:
        text = " ".join(str(error.orig).split())
        if "not a database" in text or "malformed" in text:
            raise ConfigurationError(
                f"the adapter registry is damaged or no registry: {text}", reason="REGISTRY_DAMAGED"
            ) from error
        raise _unavailable(text) from error
    except SQLAlchemyError as error:
        raise _unavailable(" ".join(str(error).split())) from error


def _unavailable(text: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the adapter registry cannot be used: {text}", reason="REGISTRY_UNAVAILABLE", retry_after=RETRY_SECONDS
    )


def _by_key(connection: Connection, records: Sequence[AdapterRecord]) -> dict[Key, AdapterRecord]:
    table, found = schema.adapters, dict[Key, AdapterRecord]()
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(record.model, []).append(record.name)
    for model, wanted in names.items():
        rows = connection.execute(select(table).where((table.c.model == model) & table.c.name.in_(wanted)))
        found |= {(row.model, row.name): _record(dict(row._mapping)) for row in rows}  # noqa: SLF001 - public
    return found


def _merged(known: AdapterRecord | None, asked: AdapterRecord, expected: str) -> Outcome:
    if known is None:
        return asked
    if known.source != asked.source:
        return AlreadyExists(f"adapter {asked.name!r} is registered from {known.source}, found {asked.source}")
    if known.tenant != asked.tenant:
        return AlreadyExists(
            f"adapter {asked.name!r} is registered for tenant {known.tenant!r}, found {asked.tenant!r}"
        )
    if expected and known.digest != expected:
        return other_digest(known, expected)
    return replace(
        known,
        tags=asked.tags or known.tags,
        pinned=known.pinned or asked.pinned,
        base_digest=asked.base_digest or known.base_digest,
    )


def _write(connection: Connection, records: Sequence[AdapterRecord]) -> None:
    """Write records in place of those of their names."""
    table, gone = schema.adapters, schema.removals
    if not records:
        return
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(record.model, []).append(record.name)
    for model, written in names.items():
        connection.execute(table.delete().where((table.c.model == model) & table.c.name.in_(written)))
        connection.execute(gone.delete().where((gone.c.model == model) & gone.c.name.in_(written)))
    connection.execute(table.insert(), [_row(record) for record in records])


def _replaced(connection: Connection, revision: int, known: AdapterRecord, fields: Mapping[str, Any]) -> AdapterRecord:
    """Write a record with other fields, unless they are the same, and return it."""
    changed = replace(known, **fields)
    if changed == known:
        return known
    changed = replace(changed, revision=revision + 1)
    _write(connection, [changed])
    _set_revision(connection, revision + 1)
    return changed


def _set_revision(connection: Connection, revision: int) -> None:
    connection.execute(schema.registry.update().values(revision=revision))


def _forget_removals(connection: Connection, before: float) -> None:
    gone = schema.removals
    old = connection.execute(select(gone.c.revision).where(gone.c.removed < before)).scalars().all()
    if old:
        connection.execute(gone.delete().where(gone.c.removed < before))
        connection.execute(schema.registry.update().values(forgotten_revision=max(old)))


def _row(record: AdapterRecord) -> dict[str, Any]:
    row = asdict(record)
    return {**row, **{name: json.dumps(row[name]) for name in LISTS}}


def _record(row: Mapping[str, Any]) -> AdapterRecord:
    """Return a record. What many adapters have in common is in memory once."""
    shared = {name: sys.intern(row[name]) for name in SHARED}
    return AdapterRecord(**{**row, **shared, **{name: _list(row[name]) for name in LISTS}})


@functools.lru_cache(maxsize=1024)
def _list(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
