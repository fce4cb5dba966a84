"""The registry's database."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bellhousing.adapters import Catalogue, Location
from bellhousing.adapters.record import AdapterRecord, Key
from bellhousing.adapters.store import REPLICA_SECONDS, Store
from bellhousing.errors import (
    AlreadyExists,
    BellhousingError,
    ConfigurationError,
    EngineUnavailable,
    NotFound,
    PreconditionFailed,
)

POET = AdapterRecord("sim", "poet", "file:///poet", digest="sha256:1", rank=8, target_modules=("k", "q"), tags=("a",))


def put(store: Store, record: AdapterRecord) -> AdapterRecord:
    """Register an adapter and return it as kept. Raises what refuses it."""
    (outcome,) = store.put_all([record])
    if isinstance(outcome, BellhousingError):
        raise outcome
    return outcome


def test_what_was_registered_is_there_after_a_restart(url: str) -> None:
    store = Store(url)
    kept = put(store, POET)
    store.close()
    again = Store(url)
    assert again.changes_since(-1).records == (kept,)
    assert kept == replace(POET, revision=1)


def test_the_same_registration_again_changes_nothing_and_new_tags_or_a_pin_are_taken(url: str) -> None:
    store = Store(url)
    first = put(store, POET)
    assert put(store, replace(POET, tags=())) == first
    assert store.changes_since(-1).revision == 1
    changed = put(store, replace(POET, tags=("b",), pinned=True))
    assert (changed.tags, changed.pinned, changed.digest, changed.revision) == (("b",), True, "sha256:1", 2)


def test_a_name_belongs_to_its_first_source_and_tenant(url: str) -> None:
    store = Store(url)
    put(store, POET)
    with pytest.raises(AlreadyExists, match="registered from file:///poet, found file:///other"):
        put(store, replace(POET, source="file:///other"))
    with pytest.raises(AlreadyExists, match="registered for tenant '', found 'acme'"):
        put(store, replace(POET, tenant="acme"))


def test_a_registration_that_expects_other_weights_changes_nothing(url: str) -> None:
    store = Store(url)
    kept = put(store, POET)
    wanted = replace(POET, tags=("b",), pinned=True, base_digest="sha256:2")
    refused, taken = store.put_all([wanted, replace(POET, name="judge")], ["sha256:0", ""])
    assert isinstance(refused, PreconditionFailed)
    assert refused.reason == "DIGEST_MISMATCH"
    assert store.changes_since(-1).records == (kept, taken)
    (changed,) = store.put_all([wanted], ["sha256:1"])
    assert isinstance(changed, AdapterRecord)
    assert changed.tags == ("b",)


def test_another_replica_is_told_what_changed_and_what_was_removed(url: str) -> None:
    store, other = Store(url), Store(url)
    store.put_all([POET, replace(POET, name="judge"), replace(POET, name="clerk")])
    seen = other.changes_since(-1).revision
    store.remove("sim", "judge")
    store.change("sim", "clerk", pinned=True)
    changes = other.changes_since(seen)
    assert [record.name for record in changes.records] == ["clerk"]
    assert changes.removed == (("sim", "judge"),)
    assert other.changes_since(changes.revision).records == ()
    put(store, replace(POET, name="judge"))
    assert other.changes_since(changes.revision).removed == ()


def test_changing_what_is_gone_is_not_found_and_removing_it_does_nothing(url: str) -> None:
    store = Store(url)
    with pytest.raises(NotFound):
        store.change("sim", "poet", pinned=True)
    assert not store.remove("sim", "poet")


def test_a_replica_that_is_not_heard_of_holds_nothing_any_more(url: str) -> None:
    store, now = Store(url), time.time()
    store.beat("one", [("sim", "poet")], now)
    store.beat("two", [("sim", "poet"), ("sim", "judge")], now)
    assert store.holders(now) == {("sim", "poet"): ("one", "two"), ("sim", "judge"): ("two",)}
    assert store.holders(now + REPLICA_SECONDS + 1) == {}
    store.beat("two", [("sim", "judge")], now + REPLICA_SECONDS + 1)
    assert store.holders(now + REPLICA_SECONDS + 1) == {("sim", "judge"): ("two",)}
    store.leave("two")
    assert store.holders(now) == {}


def test_uses_add_up_over_replicas(url: str) -> None:
    one, two = Store(url), Store(url)
    put(one, POET)
    one.note_use({("sim", "poet"): (5.0, 2)})
    two.note_use({("sim", "poet"): (7.0, 3)})
    one.note_use({("sim", "poet"): (6.0, 1)})  # told late
    one.note_use({("sim", "poet"): (0.0, 1)})  # a load without a use
    (record,) = one.changes_since(-1).records
    assert (record.last_used, record.load_count) == (7.0, 7)


async def test_uses_that_the_registry_was_not_told_of_yet_outlive_a_change(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/adapters.db"
    catalogue = Catalogue(Location(url), "one", sync_seconds=60)
    kept = await catalogue.put(POET)
    used = catalogue.note_load(catalogue.note_use(kept))
    changed = await catalogue.change("sim", "poet", pinned=True)
    assert (changed.load_count, changed.last_used, changed.pinned) == (1, used.last_used, True)
    assert catalogue.shelf("sim").records["poet"] == changed
    await catalogue.close()
    (record,) = Store(url).changes_since(-1).records
    assert (record.load_count, record.last_used) == (1, used.last_used)


async def test_loads_that_a_registry_could_not_take_are_added_to_later_ones(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/adapters.db"
    catalogue = Catalogue(Location(url), "one", sync_seconds=0.02)
    kept = await catalogue.put(POET)
    database = sqlite3.connect(f"{tmp_path}/adapters.db", isolation_level=None)
    database.execute("ALTER TABLE adapters RENAME TO away")
    for _ in range(2):
        catalogue.note_load(kept)
        await asyncio.sleep(0.1)
    database.execute("ALTER TABLE away RENAME TO adapters")
    await catalogue.close()
    (record,) = Store(url).changes_since(-1).records
    assert (record.load_count, record.last_used) == (2, 0.0)


async def test_loads_that_a_registry_refuses_while_it_is_closed_are_told_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/adapters.db"
    note_use, is_asked = Store.note_use, threading.Event()

    def refuse_once(self: Store, used: Mapping[Key, tuple[float, int]]) -> None:
        if not is_asked.is_set():
            is_asked.set()
            time.sleep(0.2)
            raise EngineUnavailable("the registry is away")
        note_use(self, used)

    monkeypatch.setattr(Store, "note_use", refuse_once)
    catalogue = Catalogue(Location(url), "one", sync_seconds=0.02)
    catalogue.note_load(await catalogue.put(POET))
    assert await asyncio.to_thread(is_asked.wait, 10)
    await catalogue.close()
    (record,) = Store(url).changes_since(-1).records
    assert record.load_count == 1


@pytest.mark.parametrize("name", ["'; DROP TABLE adapters; --", '"', "%", "\\", "名", "a\nb"])
def test_text_that_looks_like_sql_is_only_text(url: str, name: str) -> None:
    store = Store(url)
    put(store, replace(POET, name=name, source=name, tenant=name, tags=(name,)))
    (record,) = store.changes_since(-1).records
    assert (record.name, record.source, record.tenant, record.tags) == (name, name, name, (name,))
    assert store.remove("sim", name)


def test_racing_registrations_have_one_winner_and_each_revision_is_given_once(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
    outcomes: list[str] = []

    def register(store: Store, source: str) -> None:
        for number in range(25):
            try:
                outcomes.append(put(store, replace(POET, name=f"n{number}", source=source)).source)
            except AlreadyExists:
                outcomes.append("refused")

    threads = [threading.Thread(target=register, args=(s, f"file:///{i}")) for i, s in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = stores[0].changes_since(-1).records
    assert len(records) == 25
    assert outcomes.count("refused") == 75
    assert sorted(record.revision for record in records) == list(range(1, 26))
    assert stores[0].changes_since(-1).revision == 25


steps = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["put", "put2", "remove", "pin"]), st.sampled_from("abc")), max_size=30
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_two_replicas_that_follow_the_changes_see_the_same(tmp_path: Path, wanted: list[tuple[int, str, str]]) -> None:
    url = f"sqlite:///{tmp_path}/{time.monotonic_ns()}.db"
    stores, seen = [Store(url), Store(url)], [dict[str, AdapterRecord](), dict[str, AdapterRecord]()]
    revisions = [-1, -1]
    for which, what, name in wanted:
        store = stores[which]
        try:
            if what == "remove":
                store.remove("sim", name)
            elif what == "pin":
                store.change("sim", name, pinned=True)
            else:
                put(store, AdapterRecord("sim", name, f"file:///{what}"))
        except (AlreadyExists, NotFound):
            pass
        follower = which  # each follows at its own pace
        changes = stores[follower].changes_since(revisions[follower])
        for _, gone in changes.removed:
            seen[follower].pop(gone, None)
        seen[follower] |= {record.name: record for record in changes.records}
        revisions[follower] = changes.revision
    for follower in (0, 1):
        changes = stores[follower].changes_since(revisions[follower])
        for _, gone in changes.removed:
            seen[follower].pop(gone, None)
        seen[follower] |= {record.name: record for record in changes.records}
    assert seen[0] == seen[1] == {record.name: record for record in stores[0].changes_since(-1).records}
    for store in stores:
        store.close()


def test_a_registry_of_a_later_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/adapters.db"
    Store(url).close()
    with sqlite3.connect(tmp_path / "adapters.db") as connection:
        connection.execute("UPDATE registry SET schema_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="schema version 99, expected at most 1"):
        Store(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapters.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(ConfigurationError, match="damaged or no registry"):
        Store(f"sqlite:///{tmp_path}/adapters.db")


@pytest.mark.parametrize(
    ("url", "words"),
    [("nonsense", "expected a SQLAlchemy URL"), ("mysql+nosuch://host/name", "expected a SQLAlchemy URL")],
)
def test_a_url_that_cannot_be_used_is_named(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Store(url)


def test_a_database_that_is_away_is_unavailable_and_its_password_is_not_told() -> None:
    with pytest.raises(EngineUnavailable) as refused:
        Store("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    assert refused.value.reason == "REGISTRY_UNAVAILABLE"
    assert "secret" not in str(refused.value)
