"""Adapters from a hub: its own client against a server that speaks its HTTP API, and every way in which that fails."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bellhousing.adapters import Registration
from bellhousing.errors import BellhousingError, EngineUnavailable, PreconditionFailed
from tests.core.adapters.places import left_in_the_cache, placed
from tests.core.hub import COMMIT, Hub, serving, use

REPOSITORY = "acme/poet"
SOURCE = f"hf://{REPOSITORY}"
CONFIG = json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"]}).encode()
FILES = {
    "adapter_config.json": CONFIG,
    "adapter_model.safetensors": b"p" * 600,
    "README.md": b"poems",
    "training_args.bin": b"pickle",
    "second/adapter_config.json": CONFIG,
    "second/adapter_model.safetensors": b"s" * 700,
}
WHOLE = {"adapter_config.json", "adapter_model.safetensors"}
LARGE = bytes(24 << 20)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client not wait long between its tries, and know no token but a test's."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 5)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one repository, which the client takes for the real one."""
    with serving(Hub(REPOSITORY, FILES)) as running:
        use(running.endpoint, monkeypatch)
        yield running


async def refused(tmp_path: Path, source: str = SOURCE, **told: str) -> BellhousingError:
    """Return why an adapter cannot be loaded; nothing of it is left."""
    async with placed(tmp_path / "root", sources=("hf://",)) as place:
        await place.adapters.register(Registration("poet", source, **told))  # type: ignore[arg-type]
        with pytest.raises(BellhousingError) as found:
            await place.adapters.load("poet")
        assert place.adapters.find("poet").state == "failed"
        assert left_in_the_cache(tmp_path) == []
        return found.value


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
async def test_the_files_of_an_adapter_are_fetched_once_and_no_others(tmp_path: Path, hub: Hub, revision: str) -> None:
    async with placed(tmp_path / "root", sources=("hf://",)) as place:
        await place.adapters.register(Registration("poet", SOURCE + revision))
        assert hub.fetched == []
        loaded = await place.adapters.load("poet")
        assert (loaded.state, loaded.record.rank, loaded.record.size_bytes) == ("device", 8, 600)
        await place.adapters.unload("poet")
        await place.adapters.load("poet")
    assert set(hub.fetched) == WHOLE
    (entry,) = (tmp_path / "cache" / "entries").iterdir()
    assert {file.name: file.read_bytes() for file in entry.iterdir()} == {name: FILES[name] for name in WHOLE}


async def test_a_folder_of_a_repository_is_an_adapter_of_its_own(tmp_path: Path, hub: Hub) -> None:
    async with placed(tmp_path / "root", sources=("hf://",)) as place:
        await place.adapters.register(Registration("second", f"{SOURCE}/second"))
        assert (await place.adapters.load("second")).record.size_bytes == 700
    assert set(hub.fetched) == {f"second/{name}" for name in WHOLE}


async def test_a_private_repository_is_fetched_with_the_token_which_is_told_nowhere(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.token = "hf_secretsecretsecret"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    caplog.set_level(logging.DEBUG)
    async with placed(tmp_path / "root", sources=("hf://",)) as place:
        await place.adapters.register(Registration("poet", SOURCE))
        assert (await place.adapters.load("poet")).state == "device"
    assert hub.authorized_by == {f"Bearer {hub.token}"}
    assert hub.token not in caplog.text


@pytest.mark.parametrize("token", ["", "hf_wrongwrongwrong"])
async def test_a_repository_that_this_server_may_not_read_says_so_without_the_token(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", token)
    caplog.set_level(logging.DEBUG)
    error = await refused(tmp_path)
    assert (type(error), error.reason) == (PreconditionFailed, "SOURCE_DENIED")
    assert "hf_wrong" not in error.message + caplog.text


async def test_a_gated_repository_is_denied(tmp_path: Path, hub: Hub) -> None:
    hub.is_gated = True
    assert (await refused(tmp_path)).reason == "SOURCE_DENIED"


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("source", ["hf://acme/none", f"{SOURCE}@v9", f"{SOURCE}/none"])
async def test_what_the_hub_does_not_have_is_gone(tmp_path: Path, source: str) -> None:
    error = await refused(tmp_path, source)
    assert (type(error), error.reason) == (PreconditionFailed, "SOURCE_GONE")
    assert source in error.message


@pytest.mark.usefixtures("hub")
async def test_other_weights_than_the_expected_are_a_mismatch(tmp_path: Path) -> None:
    assert (await refused(tmp_path, expected_digest="sha256:" + "0" * 64)).reason == "DIGEST_MISMATCH"


async def test_a_download_that_was_cut_once_goes_on_and_one_that_is_cut_again_leaves_nothing(
    tmp_path: Path, hub: Hub
) -> None:
    hub.cuts = 1
    async with placed(tmp_path / "root", sources=("hf://",)) as place:
        await place.adapters.register(Registration("poet", SOURCE))
        assert (await place.adapters.load("poet")).record.size_bytes == 600
    hub.cuts = 1000
    other = tmp_path / "other"
    other.mkdir()
    error = await refused(other)
    assert (type(error), error.reason) == (EngineUnavailable, "FETCH_FAILED")
    assert error.retry_after


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_hub_in_trouble_is_tried_again_later(tmp_path: Path, hub: Hub, status: int) -> None:
    hub.status = status
    error = await refused(tmp_path)
    assert (type(error), error.reason) == (EngineUnavailable, "FETCH_FAILED")


async def test_a_hub_that_cannot_be_reached_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("http://127.0.0.1:1", monkeypatch)
    error = await refused(tmp_path)
    assert (type(error), error.reason) == (EngineUnavailable, "FETCH_FAILED")
    assert "\n" not in error.message


async def test_a_fetch_that_fails_is_tried_again_by_the_next_load(tmp_path: Path, hub: Hub) -> None:
    hub.status = 503
    async with placed(tmp_path / "root", sources=("hf://",)) as place:
        await place.adapters.register(Registration("poet", SOURCE))
        with pytest.raises(EngineUnavailable):
            await place.adapters.load("poet")
        hub.status = 0
        assert (await place.adapters.load("poet")).state == "device"


async def test_more_than_the_disk_may_hold_is_not_fetched(tmp_path: Path, hub: Hub) -> None:
    async with placed(tmp_path / "root", sources=("hf://",), cache_bytes=500) as place:
        await place.adapters.register(Registration("poet", SOURCE))
        with pytest.raises(PreconditionFailed, match="the adapter cache may hold 500") as found:
            await place.adapters.load("poet")
        assert found.value.reason == "ADAPTER_TOO_BIG"
    assert left_in_the_cache(tmp_path) == []
    assert hub.fetched == []


async def test_a_file_that_is_too_big_is_not_fetched(tmp_path: Path, hub: Hub) -> None:
    async with placed(tmp_path / "root", sources=("hf://",), most_bytes=599) as place:
        await place.adapters.register(Registration("poet", SOURCE))
        with pytest.raises(PreconditionFailed) as found:
            await place.adapters.load("poet")
        assert found.value.reason == "ADAPTER_TOO_BIG"
    assert hub.fetched == []


async def test_a_fetch_ends_with_the_server_and_leaves_nothing(tmp_path: Path, hub: Hub) -> None:
    hub.files = {**FILES, "adapter_model.safetensors": LARGE}
    hub.gate.clear()
    async with placed(
        tmp_path / "root", sources=("hf://",), most_bytes=len(LARGE), cache_bytes=2 * len(LARGE)
    ) as place:
        await place.adapters.register(Registration("poet", SOURCE))
        loading = asyncio.ensure_future(place.adapters.load("poet"))
        assert await asyncio.to_thread(hub.is_halfway.wait, 30)
        loading.cancel()
    hub.gate.set()
    async with asyncio.timeout(30):
        while left_in_the_cache(tmp_path):
            await asyncio.sleep(0.02)
    assert hub.bytes_sent < len(LARGE), "the download went on to its end"
