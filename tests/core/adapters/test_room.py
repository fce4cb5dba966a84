"""Who makes room for whom: what cannot be placed holds up nobody else, and what can be is placed in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bellhousing.adapters import Registration, Room, Wish
from bellhousing.errors import Overloaded
from tests.core.adapters.places import Place, placed, write
from tests.core.adapters.test_replicas import digest_at, until, use


@dataclass
class Replaced:
    """A server whose adapter was replaced in the registry while requests use it."""

    place: Place
    queued: Wish
    running: Wish
    new_digest: str


@asynccontextmanager
async def replaced_in_use(tmp_path: Path, room: Room, *others: str) -> AsyncIterator[Replaced]:
    """Give a server that has the old "poet" on its device, used by two requests, and unused others."""
    root, url = tmp_path / "root", f"sqlite:///{tmp_path}/adapters.db"
    async with placed(root, url=url, replica="one") as one, placed(root, url=url, replica="two", room=room) as two:
        for name in ("poet", *others):
            await one.adapters.register(Registration(name, write(root, name)))
        for name in (*others, "poet"):
            await two.adapters.look_up(name)
            await use(two, name)
        queued, running = two.adapters.claim("poet", ""), two.adapters.claim("poet", "")
        running.hold()
        await one.adapters.unload("poet", forget=True)
        new = await one.adapters.register(Registration("poet", write(root, "new", b"new")))
        await until(lambda: digest_at(two, "poet") == new.record.digest)
        try:
            yield Replaced(two, queued, running, new.record.digest)
        finally:
            queued.release()
            running.release()


async def test_an_adapter_whose_old_weights_are_in_use_holds_up_no_other(tmp_path: Path) -> None:
    async with replaced_in_use(tmp_path, Room(3, patience=0.05), "judge") as old:
        place = old.place
        await place.adapters.register(Registration("other", write(tmp_path / "root", "other")))
        waiting = place.adapters.claim("poet", "")
        await asyncio.sleep(0.2)  # longer than the patience
        assert not waiting.is_ready
        async with asyncio.timeout(5):
            await use(place, "judge")
            await use(place, "other")
        waiting.release()


async def test_who_waits_for_new_weights_gets_them_once_the_old_ones_are_idle(tmp_path: Path) -> None:
    async with replaced_in_use(tmp_path, Room(1, patience=0.05)) as old:
        waiting = asyncio.create_task(use(old.place, "poet"))
        await asyncio.sleep(0.2)  # longer than the patience: the old ones have a request that is queued for them
        assert not waiting.done()
        for claim in (old.queued, old.running):
            claim.release()
        async with asyncio.timeout(5):
            assert await waiting == old.new_digest


async def test_what_does_not_fit_beside_pinned_adapters_is_refused_and_what_fits_is_served(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root, room=Room(8, most_bytes=1000)) as place:
        for name, size in (("kept", 900), ("big", 500), ("small", 50)):
            weights = name[:1].encode() * size
            await place.adapters.register(Registration(name, write(root, name, weights), pinned=name == "kept"))
        await use(place, "kept")
        with pytest.raises(Overloaded, match="'big' has 500 bytes and does not fit beside 900") as refused:
            place.adapters.claim("big", "")
        assert refused.value.reason == "ADAPTER_SLOTS_FULL"
        assert await use(place, "small")


async def test_what_turns_out_too_big_when_it_was_fetched_is_refused(tmp_path: Path) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write(store, "big", b"b" * 500)
    async with placed(root, sources=(f"local://{store}",), room=Room(8, most_bytes=1000)) as place:
        await place.adapters.register(Registration("kept", write(root, "kept", b"k" * 900), pinned=True))
        await place.adapters.register(Registration("big", f"local://{store}/big"))
        await use(place, "kept")
        with pytest.raises(Overloaded) as refused:
            await use(place, "big")
        assert refused.value.reason == "ADAPTER_SLOTS_FULL"


async def test_who_waits_while_all_is_pinned_is_served_once_something_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root, room=Room(1, patience=0.05)) as place:
        for name in ("poet", "judge"):
            await place.adapters.register(Registration(name, write(root, name)))
        async with place.adapters.lease("poet", ""):
            waiting = asyncio.create_task(use(place, "judge"))
            await asyncio.sleep(0.02)
            await place.adapters.pin("poet", pinned=True)
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await place.adapters.pin("poet", pinned=False)
        async with asyncio.timeout(5):
            assert await waiting == place.adapters.find("judge").record.digest


async def test_an_adapter_that_needs_the_room_of_several_popular_ones_is_not_starved(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root, room=Room(8, most_bytes=1000, patience=0.05)) as place:
        for name, size in (("a", 400), ("b", 400), ("big", 900)):
            await place.adapters.register(Registration(name, write(root, name, name[:1].encode() * size)))
        over = asyncio.Event()

        async def keep_busy(name: str, delay: float) -> None:
            await asyncio.sleep(delay)
            while not over.is_set():
                async with place.adapters.lease(name, ""):
                    await asyncio.sleep(0.03)

        busy = [asyncio.create_task(keep_busy(name, delay)) for name in "ab" for delay in (0.0, 0.01, 0.02)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await use(place, "big")
        over.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*busy)
