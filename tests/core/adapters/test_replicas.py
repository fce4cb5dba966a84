"""Two servers' registries on one database."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bellhousing.adapters import AdapterRecord, AdapterState, Filter, Registration, Room
from bellhousing.backend import AdapterFiles
from bellhousing.errors import NotFound
from bellhousing_simulator import SimulatorBackend
from tests.core.adapters.places import MODEL, Place, placed, write


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_replicas_see_each_others_registrations_residency_and_removals(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    async with placed(root, url=url, replica="one") as one, placed(root, url=url, replica="two") as two:
        await one.adapters.register(Registration("poet", write(root, "poet"), tags=("a",)))
        found = await two.adapters.look_up("poet")  # at once: a name that is not known asks the registry
        assert (found.record.tags, found.replicas) == (("a",), ())
        await one.adapters.load("poet")
        await until(lambda: two.adapters.find("poet").replicas == ("one",))
        assert two.adapters.find("poet").state == "host"
        await two.adapters.load("poet")
        await until(lambda: one.adapters.find("poet").replicas == ("one", "two"))
        await one.adapters.unload("poet", forget=True)
        await until(lambda: two.adapters.resident() == [])
        with pytest.raises(NotFound):
            two.adapters.claim("poet", "")


async def test_weights_registered_anew_on_one_replica_are_served_by_the_other(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    async with placed(root, url=url, replica="one") as one, placed(root, url=url, replica="two") as two:
        await one.adapters.register(Registration("poet", write(root, "poet", b"old")))
        await two.adapters.look_up("poet")
        async with two.adapters.lease("poet", "") as old:
            await one.adapters.unload("poet", forget=True)
            new = await one.adapters.register(Registration("poet", write(root, "poet", b"new")))
            await until(lambda: digest_at(two, "poet") == new.record.digest)
            waiting = asyncio.create_task(use(two, "poet"))
            await asyncio.sleep(0.1)
            assert not waiting.done()  # the old weights are in use
        assert await waiting == new.record.digest != old


async def test_a_request_never_gets_the_weights_of_a_registration_that_was_removed(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    async with (
        placed(root, url=url, replica="one") as one,
        placed(root, url=url, replica="two", backend=LoadsSlowly) as two,
    ):
        old = await one.adapters.register(Registration("poet", write(root, "old"), tenant="acme"))
        await two.adapters.look_up("poet")
        first = asyncio.create_task(use(two, "poet", "acme"))
        await asyncio.sleep(0.1)  # the engine loads it
        new = await replaced(one, two, root)
        assert two.adapters.find("poet").state == "host"
        assert await use(two, "poet", "beta") == new
        assert await first == old.record.digest


async def test_who_waits_for_what_was_removed_and_replaced_is_told(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    async with (
        placed(root, url=url, replica="one") as one,
        placed(root, url=url, replica="two", room=Room(1, patience=60)) as two,
    ):
        await two.adapters.register(Registration("other", write(root, "other")))
        await two.adapters.register(Registration("poet", write(root, "old"), tenant="acme"))
        async with two.adapters.lease("other", ""):
            first = asyncio.create_task(use(two, "poet", "acme"))
            await asyncio.sleep(0.1)  # it waits for room
            await one.adapters.look_up("poet")
            new = await replaced(one, two, root)
            second = asyncio.create_task(use(two, "poet", "beta"))
            with pytest.raises(NotFound, match="removed while the request waited"):
                await first
        assert await second == new


async def test_an_adapter_that_is_removed_while_it_is_loaded_leaves_the_device(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    async with (
        placed(root, url=url, replica="one") as one,
        placed(root, url=url, replica="two", backend=LoadsSlowly) as two,
    ):
        await one.adapters.register(Registration("poet", write(root, "poet")))
        await two.adapters.look_up("poet")
        first = asyncio.create_task(use(two, "poet"))
        await asyncio.sleep(0.1)
        await one.adapters.unload("poet", forget=True)
        assert await first
        await until(lambda: two.told.changes[-1:] == [("poet", "unloaded")])


async def replaced(one: Place, two: Place, root: Path) -> str:
    """Remove acme's "poet" on one replica, register beta's and return its digest once the other replica knows."""
    await one.adapters.unload("poet", forget=True)
    new = await one.adapters.register(Registration("poet", write(root, "new"), tenant="beta"))
    await until(lambda: digest_at(two, "poet") == new.record.digest)
    return new.record.digest


class LoadsSlowly(SimulatorBackend):
    """The simulator, taking long enough to load an adapter for another replica to replace it."""

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        await asyncio.sleep(1.0)
        await super().load_adapter(adapter)


def digest_at(place: Place, name: str) -> str:
    """Return what a replica knows; between the old adapter's end and the new one's begin it may know none."""
    try:
        return place.adapters.find(name).record.digest
    except NotFound:
        return ""


async def use(place: Place, name: str, tenant: str = "") -> str:
    async with asyncio.timeout(20), place.adapters.lease(name, tenant) as digest:
        return digest


async def test_a_watch_tells_what_is_there_and_what_changes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        adapters = place.adapters
        await adapters.register(Registration("poet", write(root, "poet"), tenant="acme"))
        changes = adapters.watch(Filter(tenant="acme"))
        assert [view.record.name for view in changes.present()] == ["poet"]
        await adapters.register(Registration("other", write(root, "other")))
        await adapters.load("poet")
        await adapters.unload("poet", forget=True)
        told: list[tuple[str, str, str]] = []
        while not told or told[-1][0] != "removed":
            change, view = await changes.next()
            told.append((change, view.record.name, view.state))
        assert ("changed", "poet", "device") in told or ("changed", "poet", "host") in told
        assert {name for _, name, _ in told} == {"poet"}
        changes.close()


async def test_a_watch_tells_once_that_an_adapter_lost_its_tag(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        for name in ("poet", "judge"):
            await place.adapters.register(Registration(name, write(root, name), tags=("prod",)))
        changes = place.adapters.watch(Filter(tags=("prod",)))
        for name, tags in (("poet", ("old",)), ("poet", ("older",)), ("judge", ("old", "prod")), ("judge", ("old",))):
            await place.adapters.register(Registration(name, write(root, name), tags=tags))
        await place.adapters.register(Registration("clerk", write(root, "clerk"), tags=("prod",)))
        told: list[tuple[str, str, tuple[str, ...]]] = []
        while not told or told[-1][1] != "clerk":
            change, view = await changes.next()
            told.append((change, view.record.name, view.record.tags))
        assert told == [
            ("changed", "poet", ("old",)), ("changed", "judge", ("old", "prod")), ("changed", "judge", ("old",)),
            ("registered", "clerk", ("prod",)),
        ]  # fmt: skip
        changes.close()


async def test_pages_are_by_name_and_filters_hold_together(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        for number in range(25):
            tags = ("even",) if number % 2 == 0 else ()
            await place.adapters.register(Registration(f"n{number:02}", write(root, f"n{number:02}"), tags=tags))
        await place.adapters.load("n04")
        names, token = [], ""
        while True:
            page, token = place.adapters.page(Filter(prefix="n", tags=("even",)), token, 5)
            names += [view.record.name for view in page]
            if not token:
                break
        assert names == [f"n{number:02}" for number in range(0, 25, 2)]
        resident, _ = place.adapters.page(Filter(states=["device"], base_model="org/base"), "", 5)
        assert [view.record.name for view in resident] == ["n04"]
        assert place.adapters.page(Filter(base_model="org/other"), "", 5) == ([], "")


async def test_of_thousands_those_on_the_device_are_found_and_watches_begin_at_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root, sources=("s3://bucket",)) as place:
        remote = AdapterRecord(MODEL, "", "", digest="sha256:" + "0" * 64)
        await place.catalogue.put_all(
            [replace(remote, name=f"r{number}", source=f"s3://bucket/{number}") for number in range(5000)]
        )
        await place.adapters.register(Registration("poet", write(root, "poet")))
        await place.adapters.load("poet")

        def listed(*states: AdapterState) -> list[str]:
            return [view.record.name for view in place.adapters.page(Filter(states=states), "", 10)[0]]

        assert listed("device", "fetching", "failed") == ["poet"]
        assert listed("host") == []
        assert quickest(lambda: listed("device")) < quickest(lambda: listed("host")) / 10
        changes = place.adapters.watch(Filter())
        assert len(list(changes.present())) == 5001
        assert quickest(lambda: place.adapters.watch(Filter()).close()) < quickest(lambda: list(changes.present())) / 5
        changes.close()


def quickest(work: Callable[[], object]) -> float:
    """Return the seconds that the quickest of three goes took."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


async def test_a_large_adapter_holds_up_no_registration_of_a_small_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root, most_bytes=1 << 30) as place:
        source = write(root, "large")
        with (root / "large" / "adapter_model.safetensors").open("wb") as file:
            file.truncate(512 << 20)
        large = asyncio.create_task(place.adapters.register(Registration("large", source)))
        await asyncio.sleep(0.01)
        await place.adapters.register(Registration("small", write(root, "small")))
        assert not large.done()
        assert (await large).record.size_bytes == 512 << 20


async def test_an_import_registers_each_adapter_of_a_directory_and_tells_what_was_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        for name in ("a", "b", "bad name"):
            write(root / "many", name)
        (root / "many" / "no adapter").mkdir()
        outcomes = [
            o async for o in place.adapters.import_directory((root / "many").as_uri(), Registration("", ""), "x/")
        ]
        assert [(name, getattr(outcome, "reason", "kept"), total) for name, outcome, total in outcomes] == [
            ("x/a", "kept", 3), ("x/b", "kept", 3), ("x/bad name", "INVALID_REQUEST", 3)
        ]  # fmt: skip
        assert place.adapters.find("x/b").record.rank == 8
