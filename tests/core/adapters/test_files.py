"""Every way in which a source can be wrong, each with its own reason."""

import json
import os
import threading
import zipfile
from pathlib import Path

import pytest

from bellhousing.adapters import AdapterCache, Filter, Registration
from bellhousing.adapters.fetching import SourceRules, check_remote, fetch
from bellhousing.errors import BellhousingError, InvalidRequest, NotFound, Overloaded, PreconditionFailed
from tests.core.adapters.places import placed, write

DIGEST = "sha256:" + "0" * 64


async def refused(root: Path, source: str, name: str = "poet", **registration: str) -> BellhousingError:
    async with placed(root) as place:
        with pytest.raises(BellhousingError) as found:
            await place.adapters.register(Registration(name, source, **registration))  # type: ignore[arg-type]
        assert place.adapters.page(Filter(), "", 10) == ([], "")
        return found.value


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("file:///etc", "SOURCE_OUTSIDE"),
        ("file://{root}/../..", "SOURCE_OUTSIDE"),
        ("file://{root}/%2e%2e/%2e%2e/etc", "SOURCE_OUTSIDE"),
        ("file://{root}/none", "SOURCE_GONE"),
        ("file://{root}/poet%00.safetensors", "SOURCE_REFUSED"),
        ("file://host{root}/poet", "SOURCE_REFUSED"),
        ("s3://bucket/poet", "SOURCE_REFUSED"),
        ("hf://org/name", "SOURCE_REFUSED"),
        ("engine", "SOURCE_REFUSED"),
        ("{root}/poet", "SOURCE_REFUSED"),
    ],
)
async def test_a_source_that_is_not_allowed_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    root = tmp_path / "root"
    write(root, "poet")
    error = await refused(root, source.replace("{root}", str(root)))
    assert (error.reason, type(error)) == (reason, PreconditionFailed)


@pytest.mark.parametrize(
    "name", ["", "../poet", "/poet", "a//b", "a/../b", "poet\n", "a,b", "'; DROP TABLE adapters; --", "x" * 129, "名"]
)
async def test_a_name_that_no_adapter_may_have_is_named(tmp_path: Path, name: str) -> None:
    error = await refused(tmp_path / "root", write(tmp_path / "root", "poet"), name)
    assert isinstance(error, InvalidRequest)
    assert [violation.field for violation in error.violations] == ["name"]


async def test_another_digest_than_the_expected_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "root", "poet")
    assert (await refused(tmp_path / "root", source, expected_digest=DIGEST)).reason == "DIGEST_MISMATCH"
    assert isinstance(await refused(tmp_path / "root", source, expected_digest="sha256:junk"), InvalidRequest)


async def test_a_link_that_leads_out_of_the_allowed_directories_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(b"secret")
    source = write(root, "poet")
    (root / "poet" / "adapter_model.safetensors").unlink()
    (root / "poet" / "adapter_model.safetensors").symlink_to(secret)
    error = await refused(root, source)
    assert error.reason == "SOURCE_OUTSIDE"
    assert str(secret) in error.message
    (root / "link").symlink_to(tmp_path)
    assert (await refused(root, f"file://{root}/link")).reason == "SOURCE_OUTSIDE"
    source = write(root, "judge")
    (root / "judge" / "adapter_config.json").unlink()
    (root / "judge" / "adapter_config.json").symlink_to("/etc/passwd")
    assert (await refused(root, source)).reason == "SOURCE_OUTSIDE"


async def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    source = write(root, "poet")
    folder = root / "poet"
    weights = folder / "adapter_model.safetensors"
    for spoil in (
        lambda: (folder / "adapter_config.json").write_text("[" * 100_000),
        lambda: (folder / "adapter_config.json").write_text("[]"),
        lambda: (folder / "adapter_config.json").write_text('{"target_modules": ["\\ud800"]}'),
        lambda: (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "\\ud800"}'),
        lambda: (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x" * 1025})),
        lambda: (folder / "adapter_config.json").write_text(json.dumps({"target_modules": ["x" * 1000] * 33})),
        lambda: (folder / "second.safetensors").write_bytes(b"more"),
        lambda: become_a_pipe(weights),
        lambda: weights.unlink(),
    ):
        write_again(root, folder)
        spoil()
        assert (await refused(root, source)).reason == "ADAPTER_FORMAT"


def become_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def write_again(root: Path, folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    write(root, folder.name)


async def test_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter_model.safetensors", bytes(50 << 20))
    error = await refused(root, (root / "bomb.zip").as_uri())
    assert error.reason == "ADAPTER_FORMAT"
    assert "not unpacked" in error.message


async def test_a_file_that_is_too_big_is_refused_by_its_size(tmp_path: Path) -> None:
    source = write(tmp_path / "root", "poet", bytes((1 << 20) + 1))
    assert (await refused(tmp_path / "root", source)).reason == "ADAPTER_TOO_BIG"


async def test_weights_that_were_replaced_are_not_loaded_under_the_old_digest(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        await place.adapters.register(Registration("poet", write(root, "poet")))
        for changed in ({"weights": b"other"}, {"lora_alpha": 99}):
            write(root, "poet", **changed)
            with pytest.raises(PreconditionFailed) as found:
                await place.adapters.load("poet")
            assert found.value.reason == "ADAPTER_CHANGED"
            assert place.adapters.find("poet").state == "failed"
        write(root, "poet")
        assert (await place.adapters.load("poet")).state == "device"
        assert ("poet", "load_failed") in place.told.changes


async def test_a_source_that_is_gone_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        await place.adapters.register(Registration("poet", write(root, "poet")))
        for file in (root / "poet").iterdir():
            file.unlink()
        (root / "poet").rmdir()
        with pytest.raises(PreconditionFailed) as found:
            await place.adapters.load("poet")
        assert found.value.reason == "SOURCE_GONE"


async def test_an_adapter_of_another_base_model_is_not_loaded_until_it_is_registered_again(tmp_path: Path) -> None:
    root, url = tmp_path / "root", f"sqlite:///{tmp_path}/adapters.db"
    registration = Registration("poet", write(root, "poet"))
    async with placed(root, url=url, base_digest="sha256:one") as place:
        await place.adapters.register(registration)
    async with placed(root, url=url, base_digest="sha256:two") as place:
        with pytest.raises(PreconditionFailed) as found:
            await place.adapters.load("poet")
        assert found.value.reason == "BASE_MODEL_CHANGED"
        await place.adapters.register(registration)
        assert (await place.adapters.load("poet")).state == "device"


async def test_what_is_fetched_is_kept_by_digest_and_within_the_budget_of_the_disk(tmp_path: Path) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write(store, "poet", b"p" * 600)
    write(store, "judge", b"j" * 600)
    async with placed(root, sources=(f"local://{store}",), cache_bytes=1000) as place:
        adapters = place.adapters
        first = await adapters.register(Registration("poet", f"local://{store}/poet"))
        assert (first.state, first.record.digest) == ("registered", "")
        loaded = await adapters.load("poet")
        assert (loaded.state, loaded.record.rank) == ("device", 8)
        assert loaded.record.digest.startswith("sha256:")
        await adapters.register(Registration("judge", f"local://{store}/judge"))
        with pytest.raises(Overloaded) as found:
            await adapters.load("judge")
        assert found.value.reason == "DISK_BUDGET_EXCEEDED"
        await adapters.unload("poet")
        assert (await adapters.load("judge")).state == "device"
        assert adapters.find("poet").state == "registered"
        write(store, "poet", b"q" * 600)
        await adapters.unload("judge")
        with pytest.raises(PreconditionFailed) as changed:
            await adapters.load("poet")
        assert changed.value.reason == "DIGEST_MISMATCH"


async def test_a_cached_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write(store, "poet", b"p" * 600)
    async with placed(root, sources=(f"local://{store}",)) as place:
        await place.adapters.register(Registration("poet", f"local://{store}/poet"))
        await place.adapters.load("poet")
        await place.adapters.unload("poet")
        (file,) = (tmp_path / "cache" / "entries").rglob("*.safetensors")
        file.write_bytes(b"x" * 600)
        assert (await place.adapters.load("poet")).state == "device"
        (file,) = (tmp_path / "cache" / "entries").rglob("*.safetensors")
        assert file.read_bytes() == b"p" * 600


def test_an_allowed_beginning_does_not_allow_a_longer_name(tmp_path: Path) -> None:
    rules = SourceRules((), ("s3://bucket",), 1 << 20)
    check_remote("s3://bucket/poet", rules)
    for source in ("s3://bucket-of-another/poet", "s3://bucket/../other", "s3://bucket/%2e%2e/other"):
        with pytest.raises(PreconditionFailed):
            check_remote(source, rules)


def test_an_address_with_a_password_is_refused_and_not_told() -> None:
    with pytest.raises(PreconditionFailed, match="without a password") as found:
        check_remote("https://someone:verysecret@store/poet", SourceRules((), ("https://",), 1 << 20))
    assert "verysecret" not in found.value.message


def test_a_source_that_gives_more_than_it_announced_is_cut_off(tmp_path: Path) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Bomb(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
        """A store in memory that announces ten bytes of every file."""

        protocol = "bomb"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.split("://")[-1].strip("/")

        def ls(self, path: str, detail: bool = True, **_: object) -> list[dict[str, object]]:
            return [{**entry, "size": 10} for entry in super().ls(path, detail=True)]

    fsspec.register_implementation("bomb", Bomb, clobber=True)
    Bomb().pipe("/b/poet/adapter_model.safetensors", bytes(5 << 20))
    rules = SourceRules((), ("bomb://b",), 1 << 20)
    with pytest.raises(PreconditionFailed) as found:
        fetch("bomb://b/poet", AdapterCache(tmp_path / "cache", 1 << 20), rules, threading.Event())
    assert found.value.reason == "ADAPTER_TOO_BIG"
    assert not list((tmp_path / "cache" / "staging").iterdir())


async def test_an_unknown_adapter_is_not_found_with_near_names_of_its_tenant_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with placed(root) as place:
        for name, tenant in (("poet", ""), ("poem", "acme"), ("pope", "other")):
            await place.adapters.register(Registration(name, write(root, name), tenant=tenant))
        with pytest.raises(NotFound) as found:
            place.adapters.claim("poets", "acme")
        assert sorted(found.value.near) == ["poem", "poet"]
        with pytest.raises(NotFound) as found:
            place.adapters.claim("pope", "acme")
        assert "pope" not in found.value.near
