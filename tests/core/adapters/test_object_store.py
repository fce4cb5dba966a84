"""Adapters from an object store: the real client against a store that looks at signatures, over lines that break."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bellhousing.adapters import Registration
from bellhousing.errors import BellhousingError, EngineUnavailable, PreconditionFailed
from tests.core.adapters.object_store import BUCKET, Keys, ObjectStore, line_to, object_store, use
from tests.core.adapters.places import left_in_the_cache, placed

CONFIG = json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"]}).encode()
LARGE = bytes(24 << 20)


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStore]:
    with object_store() as found:
        yield found


@pytest.fixture
def store(running: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A store whose keys this process has."""
    use(running.port, running.reader, monkeypatch)
    return running


def put(store: ObjectStore, name: str, weights: bytes) -> str:
    """Write an adapter and return its source."""
    store.put(f"{name}/adapter_config.json", CONFIG)
    store.put(f"{name}/adapter_model.safetensors", weights)
    store.put(f"{name}/README.md", b"not fetched")
    return f"s3://{BUCKET}/{name}"


async def refused(tmp_path: Path, source: str, **told: str) -> BellhousingError:
    """Return why an adapter cannot be loaded; nothing of it is left."""
    async with placed(tmp_path / "root", sources=("s3://",)) as place:
        await place.adapters.register(Registration("poet", source, **told))  # type: ignore[arg-type]
        with pytest.raises(BellhousingError) as found:
            await place.adapters.load("poet")
        assert left_in_the_cache(tmp_path) == []
        return found.value


async def test_the_files_of_an_adapter_are_fetched_and_no_others(tmp_path: Path, store: ObjectStore) -> None:
    source = put(store, "poet", b"p" * 600)
    async with placed(tmp_path / "root", sources=(f"s3://{BUCKET}",)) as place:
        await place.adapters.register(Registration("poet", source))
        loaded = await place.adapters.load("poet")
        assert (loaded.state, loaded.record.rank, loaded.record.size_bytes) == ("device", 8, 600)
    (entry,) = (tmp_path / "cache" / "entries").iterdir()
    assert {file.name for file in entry.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


async def test_a_file_alone_is_an_adapter(tmp_path: Path, store: ObjectStore) -> None:
    source = put(store, "alone", b"a" * 600)
    async with placed(tmp_path / "root", sources=("s3://",)) as place:
        await place.adapters.register(Registration("alone", f"{source}/adapter_model.safetensors"))
        assert (await place.adapters.load("alone")).record.size_bytes == 600


async def test_other_weights_at_the_address_are_refused_whatever_was_listed_before(
    tmp_path: Path, store: ObjectStore
) -> None:
    source = put(store, "changed", b"p" * 600)
    async with placed(tmp_path / "root", sources=("s3://",), cache_bytes=800) as place:
        await place.adapters.register(Registration("changed", source))
        await place.adapters.load("changed")
        await place.adapters.unload("changed")
        put(store, "changed", b"q" * 700)
        put(store, "other", b"o" * 700)
        await place.adapters.register(Registration("other", f"s3://{BUCKET}/other"))
        await place.adapters.load("other")  # the first leaves the disk
        await place.adapters.unload("other")
        with pytest.raises(PreconditionFailed) as found:
            await place.adapters.load("changed")
        assert found.value.reason == "DIGEST_MISMATCH"


async def test_what_was_not_there_is_found_once_it_is(tmp_path: Path, store: ObjectStore) -> None:
    async with placed(tmp_path / "root", sources=("s3://",)) as place:
        await place.adapters.register(Registration("late", f"s3://{BUCKET}/late"))
        with pytest.raises(PreconditionFailed) as found:
            await place.adapters.load("late")
        assert found.value.reason == "SOURCE_GONE"
        put(store, "late", b"l" * 600)
        assert (await place.adapters.load("late")).state == "device"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("source", [f"s3://{BUCKET}/none", "s3://none/poet"])
async def test_what_is_not_there_is_gone(tmp_path: Path, source: str) -> None:
    error = await refused(tmp_path, source)
    assert (type(error), error.reason) == (PreconditionFailed, "SOURCE_GONE")


async def test_other_weights_than_the_expected_are_a_mismatch(tmp_path: Path, store: ObjectStore) -> None:
    source = put(store, "poet", b"p" * 600)
    assert (await refused(tmp_path, source, expected_digest="sha256:" + "0" * 64)).reason == "DIGEST_MISMATCH"


@pytest.mark.parametrize("whose", ["a stranger's", "wrong", "none"])
async def test_who_may_not_read_is_told_so_and_the_keys_nowhere(
    tmp_path: Path,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    whose: str,
) -> None:
    wrong = Keys(store.reader.id, "wrongwrongwrong")
    keys = {"a stranger's": store.stranger, "wrong": wrong, "none": None}[whose]
    source = put(store, "poet", b"p" * 600)
    use(store.port, keys, monkeypatch)
    caplog.set_level(logging.INFO)
    error = await refused(tmp_path, source)
    assert (type(error), error.reason) == (PreconditionFailed, "SOURCE_DENIED")
    if keys:
        assert keys.secret not in error.message + caplog.text


async def test_a_line_that_breaks_once_is_used_again_and_one_that_always_breaks_leaves_nothing(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(store, "cut", bytes(1 << 20))
    async with line_to(store.port, large=1 << 19) as line:
        use(line.port, store.reader, monkeypatch)
        line.cuts = 1
        async with placed(tmp_path / "root", sources=("s3://",), most_bytes=2 << 20, cache_bytes=2 << 20) as place:
            await place.adapters.register(Registration("cut", source))
            assert (await place.adapters.load("cut")).record.size_bytes == 1 << 20
        assert line.cuts == 0
        line.cuts = 1000
        (tmp_path / "other").mkdir()
        error = await refused(tmp_path / "other", source)
        assert (type(error), error.reason) == (EngineUnavailable, "FETCH_FAILED")
        assert error.retry_after


async def test_a_store_that_cannot_be_reached_is_tried_again_later(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(1, store.reader, monkeypatch)
    error = await refused(tmp_path, f"s3://{BUCKET}/poet")
    assert (type(error), error.reason) == (EngineUnavailable, "FETCH_FAILED")


async def test_more_than_the_disk_may_hold_or_a_model_may_have_is_refused(tmp_path: Path, store: ObjectStore) -> None:
    source = put(store, "large", b"p" * 600)
    async with placed(tmp_path / "root", sources=("s3://",), cache_bytes=500) as place:
        await place.adapters.register(Registration("large", source))
        with pytest.raises(PreconditionFailed, match="the adapter cache may hold 500") as full:
            await place.adapters.load("large")
        assert full.value.reason == "ADAPTER_TOO_BIG"
    async with placed(tmp_path / "root", sources=("s3://",), most_bytes=599) as place:
        await place.adapters.register(Registration("large", source))
        with pytest.raises(PreconditionFailed) as big:
            await place.adapters.load("large")
        assert big.value.reason == "ADAPTER_TOO_BIG"
    assert left_in_the_cache(tmp_path) == []


async def test_a_fetch_ends_with_the_server_and_leaves_nothing(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(store, "slow", LARGE)
    async with line_to(store.port, large=1 << 20) as line:
        use(line.port, store.reader, monkeypatch)
        line.gate.clear()
        bounds = {"most_bytes": len(LARGE), "cache_bytes": 2 * len(LARGE)}
        async with placed(tmp_path / "root", sources=("s3://",), **bounds) as place:  # type: ignore[arg-type]
            await place.adapters.register(Registration("slow", source))
            loading = asyncio.ensure_future(place.adapters.load("slow"))
            async with asyncio.timeout(30):
                await line.is_halfway.wait()
            loading.cancel()
        line.gate.set()
        async with asyncio.timeout(30):
            while left_in_the_cache(tmp_path):
                await asyncio.sleep(0.02)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
