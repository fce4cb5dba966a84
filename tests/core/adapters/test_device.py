"""Who is on the device: leases, single loads, room, patience, replaced weights, thrashing."""

import asyncio
from pathlib import Path

import pytest

from bellhousing.adapters import AdapterRecord, Registration, Room, files
from bellhousing.adapters.adapters import Adapters
from bellhousing.adapters.record import STATIC_SOURCE
from bellhousing.backend import AdapterFiles
from bellhousing.errors import EngineFault, NotFound, Overloaded, PreconditionFailed
from bellhousing_simulator import SimulatorBackend
from tests.core.adapters.places import MODEL, Place, placed, write


async def register(place: Place, root: Path, *names: str, **fields: bool) -> None:
    for name in names:
        await place.adapters.register(Registration(name, write(root, name), **fields))  # type: ignore[arg-type]


class SlowLoading(SimulatorBackend):
    """The simulator, taking a while to load an adapter and counting."""

    loads = 0

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        type(self).loads += 1
        await asyncio.sleep(0.05)
        await super().load_adapter(adapter)


async def test_requests_for_one_adapter_share_a_single_load(tmp_path: Path) -> None:
    SlowLoading.loads = 0
    async with placed(tmp_path / "root", backend=SlowLoading) as place:
        await register(place, tmp_path / "root", "poet")

        async def use() -> str:
            async with place.adapters.lease("poet", "") as digest:
                return digest

        digests = await asyncio.gather(*(use() for _ in range(50)))
        assert SlowLoading.loads == 1
        assert set(digests) == {place.adapters.find("poet").record.digest}
        assert place.adapters.find("poet").record.load_count == 1


async def test_an_adapter_in_use_is_neither_evicted_nor_unloaded(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", room=Room(1, patience=60)) as place:
        await register(place, tmp_path / "root", "poet", "judge")
        async with place.adapters.lease("poet", ""):
            with pytest.raises(PreconditionFailed) as refused:
                await place.adapters.unload("poet", forget=True)
            assert refused.value.reason == "ADAPTER_IN_USE"
            with pytest.raises(Overloaded):
                await place.adapters.load("judge")
            waiting = asyncio.create_task(hold(place.adapters, "judge"))
            await asyncio.sleep(0.05)
            assert place.adapters.resident() == ["poet"]
            assert place.adapters.waiting() == ["judge"]
        assert await waiting == place.adapters.find("judge").record.digest
        assert ("poet", "evicted") in place.told.changes


async def hold(adapters: Adapters, name: str, seconds: float = 0.0) -> str:
    async with adapters.lease(name, "") as digest:
        await asyncio.sleep(seconds)
        return digest


async def test_a_popular_adapter_does_not_starve_another(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", room=Room(1, patience=0.1)) as place:
        await register(place, tmp_path / "root", "popular", "rare")
        over = asyncio.Event()

        async def keep_busy(delay: float) -> None:
            await asyncio.sleep(delay)
            while not over.is_set():
                await hold(place.adapters, "popular", 0.02)

        busy = [asyncio.create_task(keep_busy(0.01 * number)) for number in range(3)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            await hold(place.adapters, "rare")
        over.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*busy)


async def test_pinned_adapters_stay_and_when_all_are_pinned_others_are_refused_at_once(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", room=Room(2)) as place:
        await register(place, tmp_path / "root", "kept", pinned=True)
        await register(place, tmp_path / "root", "a", "b")
        for name in ("kept", "a", "b", "a"):
            await hold(place.adapters, name)
        assert place.adapters.resident() == ["a", "kept"]
        await place.adapters.pin("a", pinned=True)
        with pytest.raises(Overloaded) as refused:
            place.adapters.claim("b", "")
        assert refused.value.reason == "ADAPTER_SLOTS_FULL"


async def test_the_bytes_on_the_device_are_bounded(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root, room=Room(8, most_bytes=1000)) as place:
        for name in "abc":
            await place.adapters.register(Registration(name, write(root, name, name.encode() * 400)))
            await hold(place.adapters, name)
        assert place.adapters.resident() == ["b", "c"]


async def test_a_load_that_fails_ends_those_who_wait_and_the_next_request_tries_again(tmp_path: Path) -> None:
    class Failing(SimulatorBackend):
        fails = True

        async def load_adapter(self, adapter: AdapterFiles) -> None:
            if self.fails:
                raise RuntimeError("out of memory")
            await super().load_adapter(adapter)

    async with placed(tmp_path / "root", backend=Failing) as place:
        await register(place, tmp_path / "root", "poet")
        outcomes = await asyncio.gather(*(hold(place.adapters, "poet") for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [EngineFault] * 3
        assert place.adapters.find("poet").state == "failed"
        Failing.fails = False
        assert await hold(place.adapters, "poet")


async def test_files_that_change_while_the_engine_reads_them_are_unloaded_again(tmp_path: Path) -> None:
    root = tmp_path / "root"

    class Raced(SimulatorBackend):
        async def load_adapter(self, adapter: AdapterFiles) -> None:
            write(root, "poet", b"replaced")
            await super().load_adapter(adapter)

    async with placed(root, backend=Raced) as place:
        await register(place, root, "poet")
        with pytest.raises(PreconditionFailed) as refused:
            await place.adapters.load("poet")
        assert refused.value.reason == "ADAPTER_CHANGED"
        assert place.adapters.resident() == []
        with pytest.raises(NotFound):
            place.backend.chain("poet")  # type: ignore[attr-defined]


async def test_files_that_are_changed_and_put_back_while_the_engine_reads_them_are_unloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    monkeypatch.setattr(files, "SETTLED_SECONDS", 0.05)

    class Raced(SimulatorBackend):
        async def load_adapter(self, adapter: AdapterFiles) -> None:
            write(root, "poet", b"replaced")
            write(root, "poet")
            await asyncio.sleep(0.1)
            await super().load_adapter(adapter)

    async with placed(root, backend=Raced) as place:
        await register(place, root, "poet")
        await asyncio.sleep(0.1)
        with pytest.raises(PreconditionFailed, match="written to while the engine read them") as refused:
            await place.adapters.load("poet")
        assert refused.value.reason == "ADAPTER_CHANGED"
        with pytest.raises(NotFound):
            place.backend.chain("poet")  # type: ignore[attr-defined]


async def test_adapters_wanted_back_at_once_are_thrashing_and_told_once(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", room=Room(2)) as place:
        await register(place, tmp_path / "root", "a", "b", "c")
        for name in "abcabcabcabc":
            await hold(place.adapters, name)
        assert place.told.thrashing == [4]


async def test_static_adapters_are_leased_with_their_digest_and_stay(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", room=Room(1), static={"poet": "sha256:1", "judge": ""}) as place:
        async with place.adapters.lease("poet", "anyone") as digest:
            assert digest == "sha256:1"
            assert place.adapters.find("poet").leases == 1
        assert place.adapters.resident() == ["judge", "poet"]
        with pytest.raises(PreconditionFailed, match="'poet' came with the engine"):
            await place.adapters.unload("poet", forget=True)
        assert place.adapters.find("poet").record.pinned
        assert place.adapters.find("poet").record == AdapterRecord(
            MODEL, "poet", STATIC_SOURCE, "sha256:1", pinned=True, load_count=1
        )


async def test_an_engine_that_starts_anew_brings_only_its_own_adapters(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", static={"poet": "sha256:1", "judge": ""}) as place:
        await register(place, tmp_path / "root", "mine")
        await place.adapters.load("mine")
        await place.adapters.engine_started("", {"poet": "sha256:2"})
        assert place.adapters.resident() == ["poet"]
        assert place.adapters.find("poet").record.digest == "sha256:2"
        assert place.adapters.find("mine").state == "host"
        with pytest.raises(NotFound):
            place.adapters.find("judge")


async def test_an_adapter_is_not_removed_while_the_engine_loads_it_even_if_nobody_waits(tmp_path: Path) -> None:
    class Gated(SimulatorBackend):
        begun, gate = asyncio.Event(), asyncio.Event()

        async def load_adapter(self, adapter: AdapterFiles) -> None:
            self.begun.set()
            await self.gate.wait()
            await super().load_adapter(adapter)

    async with placed(tmp_path / "root", backend=Gated) as place:
        await register(place, tmp_path / "root", "poet")
        waiting = place.adapters.claim("poet", "")
        await Gated.begun.wait()
        waiting.release()
        with pytest.raises(PreconditionFailed, match="'poet' is being loaded") as refused:
            await place.adapters.unload("poet", forget=True)
        assert refused.value.reason == "ADAPTER_IN_USE"
        Gated.gate.set()
        assert await hold(place.adapters, "poet")
        await place.adapters.unload("poet", forget=True)
        with pytest.raises(NotFound):
            place.backend.chain("poet")  # type: ignore[attr-defined]


async def test_an_engine_that_ended_has_nothing_on_its_device(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", static={"judge": ""}) as place:
        await register(place, tmp_path / "root", "poet")
        await place.adapters.load("poet")
        place.adapters.engine_ended()
        assert place.adapters.resident() == []
        assert place.adapters.find("poet").state == "host"
        assert place.adapters.find("judge").state == "registered"
        assert place.adapters.find("poet").replicas == ()
