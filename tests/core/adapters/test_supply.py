"""What a fetch leaves behind that nobody waits for any more, or that comes to nothing."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bellhousing.adapters import Registration, Room
from bellhousing.adapters.supply import CONCURRENT_FETCHES
from bellhousing.errors import ConfigurationError, NotFound, PreconditionFailed
from tests.core.adapters.places import placed
from tests.core.adapters.test_replicas import until, use


class Slow(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A store in memory that answers for what is below `slow` once its gate is open."""

    protocol = "slow"
    gate = threading.Event()
    asked = threading.Semaphore(0)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.split("://")[-1].strip("/")

    def ls(self, path: str, detail: bool = True, **_: object) -> list[dict[str, object]]:
        if "slow" in path:
            Slow.asked.release()
            Slow.gate.wait(30)
        return list(super().ls(path, detail=True))


@pytest.fixture(autouse=True)
def gate() -> Iterator[threading.Event]:
    fsspec.register_implementation("slow", Slow, clobber=True)
    Slow.asked = threading.Semaphore(0)
    Slow.gate.clear()
    yield Slow.gate
    Slow.gate.set()


def put(path: str, size: int = 1) -> str:
    """Put an adapter into the store and return its source."""
    Slow().pipe(f"/{path}/adapter_model.safetensors", path[-1:].encode() * size)
    return f"slow://{path}"


async def asked() -> None:
    """Return once the store was asked for something that takes its time."""
    assert await asyncio.to_thread(Slow.asked.acquire, timeout=10)


async def test_fetches_that_nobody_waits_for_keep_no_place_from_others(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", sources=("slow://",)) as place:
        names = [f"slow-{number}" for number in range(2 * CONCURRENT_FETCHES)]
        for name in names:
            await place.adapters.register(Registration(name, put(f"slow/{name}")))
        await place.adapters.register(Registration("poet", put("fine/poet")))
        claims = [place.adapters.claim(name, "") for name in names]
        for _ in range(CONCURRENT_FETCHES):
            await asked()
        waiting = asyncio.create_task(use(place, "poet"))
        await asyncio.sleep(0.05)
        assert not waiting.done()  # every place is taken by a fetch that somebody waits for
        for claim in claims:
            claim.release()
        async with asyncio.timeout(5):
            assert await waiting


async def test_a_fetch_that_nobody_waits_for_goes_on_while_there_is_room_for_it(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with placed(tmp_path / "root", sources=("slow://",)) as place:
        await place.adapters.register(Registration("poet", put("slow/poet")))
        place.adapters.claim("poet", "").release()
        await asked()
        waiting = asyncio.create_task(use(place, "poet"))
        await asyncio.sleep(0.05)
        gate.set()
        async with asyncio.timeout(5):
            assert await waiting
        assert not Slow.asked.acquire(blocking=False), "it was fetched twice"


async def test_what_was_fetched_for_an_adapter_that_is_gone_makes_room_in_the_cache(
    tmp_path: Path, gate: threading.Event
) -> None:
    root, url = tmp_path / "root", f"sqlite:///{tmp_path}/adapters.db"
    async with (
        placed(root, url=url, replica="one", sources=("slow://",), cache_bytes=1000) as one,
        placed(root, url=url, replica="two", sources=("slow://",)) as two,
    ):
        await one.adapters.register(Registration("poet", put("slow/poet", 600)))
        waiting = asyncio.create_task(use(one, "poet"))
        await asked()
        await two.adapters.unload("poet", forget=True)
        gate.set()
        with pytest.raises(NotFound):
            await waiting
        await one.adapters.register(Registration("judge", put("fine/judge", 600)))
        assert await use(one, "judge")


async def test_the_first_fetch_fixes_the_digest_for_every_replica(tmp_path: Path, gate: threading.Event) -> None:
    url, sources = f"sqlite:///{tmp_path}/adapters.db", ("slow://",)
    async with (
        placed(tmp_path / "a" / "root", url=url, replica="one", sources=sources) as one,
        placed(tmp_path / "b" / "root", url=url, replica="two", sources=sources) as two,
    ):
        await one.adapters.register(Registration("poet", put("slow/poet")))
        await two.adapters.look_up("poet")
        late = asyncio.create_task(use(two, "poet"))
        await asked()
        record = one.adapters.find("poet").record
        first = await one.catalogue.keep_found(record, digest="sha256:" + "0" * 64, size_bytes=1)
        gate.set()
        with pytest.raises(PreconditionFailed) as refused:
            await late
        assert refused.value.reason == "DIGEST_MISMATCH"
        assert (await one.adapters.look_up("poet")).record.digest == first.digest
        with pytest.raises(PreconditionFailed):
            await one.catalogue.keep_found(record, digest=first.digest, config_digest="sha256:1", size_bytes=1)


async def test_an_adapter_that_the_cache_can_never_hold_drives_nothing_out_of_it(tmp_path: Path) -> None:
    async with placed(tmp_path / "root", sources=("slow://",), cache_bytes=1000) as place:
        await place.adapters.register(Registration("poet", put("fine/poet", 600)))
        await place.adapters.register(Registration("huge", put("fine/huge", 1001)))
        await use(place, "poet")
        await place.adapters.unload("poet")
        with pytest.raises(PreconditionFailed, match="1001 bytes") as refused:
            await use(place, "huge")
        assert (refused.value.reason, refused.value.retry_after) == ("ADAPTER_TOO_BIG", None)
        assert place.adapters.find("poet").state == "host"


async def test_a_cache_directory_that_cannot_be_used_is_named_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"adapters\.cache_directory .*/cache'") as refused:
        async with placed(tmp_path / "root", sources=("slow://",)):
            pass
    assert refused.value.reason == "BAD_CACHE_DIRECTORY"
    async with placed(tmp_path / "root") as place:  # nothing is fetched here, so nothing is asked of the directory
        assert place.adapters.resident() == []


async def test_a_fetch_that_fails_when_its_request_was_served_otherwise_harms_nothing(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with placed(tmp_path / "root", sources=("slow://",), room=Room(2, patience=0.05)) as place:
        for name, source in (("poet", "slow/poet"), ("judge", "fine/judge"), ("rare", "fine/rare")):
            await place.adapters.register(Registration(name, put(source)))
        gate.set()
        await use(place, "poet")  # first, so that it is the first to make room
        poet = [place.adapters.claim("poet", "") for _ in range(2)]
        judge = place.adapters.claim("judge", "")
        await until(lambda: all(claim.is_ready for claim in (*poet, judge)))
        poet[0].hold()
        judge.hold()
        await asked()
        gate.clear()
        shutil.rmtree(tmp_path / "cache" / "entries")
        put("slow/poet", 2)
        rare = asyncio.create_task(use(place, "rare"))  # "poet" is closed for it: its second request waits for a fetch
        await asked()
        judge.release()
        assert await rare
        await until(lambda: poet[1].is_ready)  # "poet" need not go
        poet[1].hold()
        gate.set()
        await asyncio.sleep(0.2)
        assert place.adapters.find("poet").leases == 2
        for claim in poet:
            claim.release()
        assert place.adapters.find("poet").leases == 0
