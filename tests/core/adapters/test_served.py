"""Adapters through a real server: over restarts, for tenants, behind the queue."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bellhousing import AsyncClient, RetryPolicy
from bellhousing.errors import InvalidRequest, NotFound, PermissionDenied, PreconditionFailed
from bellhousing.hookspecs import ThrashEvent, hookimpl
from bellhousing.testing import Served
from bellhousing.v1 import admin_pb2 as pb
from bellhousing.v1 import discovery_pb2, discovery_pb2_grpc
from tests.core.adapters.places import write
from tests.core.conftest import Serve


def settings(tmp_path: Path, **model: Any) -> dict[str, Any]:
    return {
        "model": {"name": "sim", "adapter_roots": [str(tmp_path / "root")], **model},
        "config": {"adapters": {"registry": f"sqlite:///{tmp_path}/adapters.db", "sync_seconds": 0.05}},
    }


async def test_adapters_and_pins_survive_a_restart_and_serve_with_their_digest(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        added = await served.client.register_adapter("poet", write(tmp_path / "root", "poet"), tags=["a"], pinned=True)
        await served.client.complete("abc", adapter="poet", max_tokens=2)
    async with serving(**settings(tmp_path)) as served:
        found = await served.client.adapter("poet")
        assert (found.digest, list(found.tags), found.pinned, found.load_count) == (added.digest, ["a"], True, 1)
        assert (found.rank, found.base_model, list(found.target_modules)) == (8, "org/base", ["q_proj"])
        done = await served.client.complete("abc", adapter="poet", max_tokens=2)
        assert done.finished.adapter_digest == added.digest == f"sha256:{hashlib.sha256(b'poet').hexdigest()}"


async def test_a_refused_registration_changes_nothing_and_a_load_is_no_use(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        source = write(tmp_path / "root", "poet")
        await served.client.register_adapter("poet", source, tags=["prod"])
        digest = "sha256:" + "0" * 64
        with pytest.raises(PreconditionFailed) as refused:
            await served.client.register_adapter("poet", source, tags=["test"], pinned=True, expected_digest=digest)
        assert refused.value.reason == "DIGEST_MISMATCH"
        await served.client.load_adapter("poet")
        found = await served.client.adapter("poet")
        assert (list(found.tags), found.pinned, found.load_count) == (["prod"], False, 1)
        assert not found.HasField("last_used")


async def test_another_tenants_adapter_is_not_found_nor_named(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        await served.client.register_adapter("private", write(tmp_path / "root", "private"), tenant="acme")
        for tenant, allowed in (("acme", True), ("other", False), ("", False)):
            async with AsyncClient(served.address, tenant=tenant, retry=RetryPolicy(attempts=1)) as client:
                if allowed:
                    assert (await client.complete("abc", adapter="private", max_tokens=1)).finished.adapter_digest
                    continue
                for name in ("private", "privat"):
                    with pytest.raises(NotFound) as refused:
                        await client.complete("abc", adapter=name, max_tokens=1)
                    assert "private" not in refused.value.message.replace(repr(name), "")


def token(name: str, *services: str) -> dict[str, Any]:
    """A token that is its tenant's name."""
    allowed = {"services": services} if services else {}
    return {"sha256": hashlib.sha256(name.encode()).hexdigest(), "tenant": name, **allowed}


def speaking(served: Served, name: str) -> AsyncClient:
    return AsyncClient(served.address, token=name, retry=RetryPolicy(attempts=1))


@asynccontextmanager
async def of_tenants(
    serving: Serve, tmp_path: Path, *services: str
) -> AsyncIterator[tuple[Served, AsyncClient, AsyncClient, AsyncClient]]:
    """Serve an operator, who may use some services, and the tenants acme and beta; give their clients."""
    given = settings(tmp_path)
    given["config"]["auth"] = {"tokens": [token("op", *services), token("acme"), token("beta")]}
    async with (
        serving(**given) as served,
        speaking(served, "op") as operator,
        speaking(served, "acme") as acme,
        speaking(served, "beta") as beta,
    ):
        yield served, operator, acme, beta


async def test_the_load_names_the_adapters_that_the_caller_may_know_of(serving: Serve, tmp_path: Path) -> None:
    async with of_tenants(serving, tmp_path, "admin", "discovery") as (served, operator, acme, beta):
        for name, tenant in (("private", "acme"), ("shared", "")):
            await operator.register_adapter(name, write(tmp_path / "root", name), tenant=tenant)
            await operator.load_adapter(name)
        for client, seen in ((operator, True), (acme, True), (beta, False)):
            expected = ["private", "shared"] if seen else ["shared"]
            assert list((await client.load()).resident_adapters) == expected
        stub: Any = discovery_pb2_grpc.DiscoveryStub(served.client._channel)
        metadata = (("authorization", "Bearer beta"),)
        watched = await anext(aiter(stub.WatchLoad(discovery_pb2.WatchLoadRequest(), metadata=metadata)))
        assert list(watched.load.resident_adapters) == ["shared"]


async def test_without_tokens_the_load_names_all_unless_a_tenant_is_named(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        await served.client.register_adapter("private", write(tmp_path / "root", "private"), tenant="acme")
        await served.client.load_adapter("private")
        for tenant, expected in (("", ["private"]), ("acme", ["private"]), ("beta", [])):
            async with AsyncClient(served.address, tenant=tenant, retry=RetryPolicy(attempts=1)) as client:
                assert list((await client.load()).resident_adapters) == expected


async def test_another_tenants_adapter_takes_as_long_as_one_that_does_not_exist(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        await served.client.register_adapter("private", write(tmp_path / "root", "private"), tenant="acme")
        adapters = served.model.adapters
        for name in ("private", "nothing"):
            with pytest.raises(NotFound):
                await adapters.look_up("nobody", "beta")  # the registry is asked again only some time after this
            began = time.monotonic()
            with pytest.raises(NotFound):
                await adapters.look_up(name, "beta")
            assert time.monotonic() - began > 0.1


async def test_why_a_load_failed_names_files_to_operators_and_the_owner_only(serving: Serve, tmp_path: Path) -> None:
    async with of_tenants(serving, tmp_path, "admin", "inference") as (_, operator, acme, beta):
        for name, tenant in (("private", "acme"), ("shared", "")):
            await operator.register_adapter(name, write(tmp_path / "root", name), tenant=tenant)
            (tmp_path / "root" / name / "adapter_model.safetensors").unlink()
        asked = (
            (operator, "shared", True),
            (acme, "private", True),
            (acme, "shared", False),
            (beta, "shared", False),
        )
        for client, name, tells in asked:
            with pytest.raises(PreconditionFailed) as failed:
                await client.complete("abc", adapter=name, max_tokens=1)
            assert failed.value.reason == "ADAPTER_FORMAT"
            assert (str(tmp_path) in str(failed.value)) == tells


async def test_the_registry_is_for_operators_only(serving: Serve, tmp_path: Path) -> None:
    given = settings(tmp_path)
    given["config"]["auth"] = {"tokens": [token("acme")]}
    async with (
        serving(
            **{**given, "model": {**given["model"]}},
        ) as served,
        speaking(served, "acme") as client,
    ):
        for call in (client.adapter("x"), client.pin_adapter("x"), anext(aiter(client.watch_adapters()))):
            with pytest.raises(PermissionDenied):
                await call


async def test_a_request_whose_adapter_is_not_there_holds_up_no_other(serving: Serve, tmp_path: Path) -> None:
    slow = {"inter_token_seconds": 0.02, "end_probability": 0.0}
    model = {"adapter_slots": 1, "adapter_patience_seconds": 60, "batching": {"max_sequences": 2}}
    async with serving(options=slow, **settings(tmp_path, **model)) as served:
        for name in ("poet", "judge"):
            await served.client.register_adapter(name, write(tmp_path / "root", name))
        running = asyncio.create_task(served.client.complete("abc", adapter="poet", max_tokens=100))
        await until_waiting(served, resident=["poet"], waiting=[])
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(served.client.complete("abc", adapter="judge", max_tokens=1))
        await until_waiting(served, resident=["poet"], waiting=["judge"])
        assert (await served.client.complete("abc", max_tokens=1)).finished.usage.completion_tokens == 1
        assert (await served.client.complete("abc", adapter="poet", max_tokens=1)).finished.adapter_digest
        assert not waiting.done()
        await running
        assert (await waiting).finished.adapter_digest


async def until_waiting(served: Served, resident: list[str], waiting: list[str]) -> None:
    async with asyncio.timeout(10):
        while True:
            load = await served.client.load()
            if (list(load.resident_adapters), list(load.waiting_adapters)) == (resident, waiting):
                return
            await asyncio.sleep(0.01)


async def test_a_request_that_leaves_while_its_adapter_is_away_leaves_nothing(serving: Serve, tmp_path: Path) -> None:
    slow = {"inter_token_seconds": 0.02, "end_probability": 0.0}
    async with serving(options=slow, **settings(tmp_path, adapter_slots=1, adapter_patience_seconds=60)) as served:
        for name in ("poet", "judge"):
            await served.client.register_adapter(name, write(tmp_path / "root", name))
        running = asyncio.create_task(served.client.complete("abc", adapter="poet", max_tokens=50))
        await until_waiting(served, resident=["poet"], waiting=[])
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(served.client.complete("abc", adapter="judge", max_tokens=1))
        await until_waiting(served, resident=["poet"], waiting=["judge"])
        waiting.cancel()
        await until_waiting(served, resident=["poet"], waiting=[])
        await running
        async with asyncio.timeout(20):
            while (await served.client.adapter("poet")).running:
                await asyncio.sleep(0.01)
        await served.client.unload_adapter("poet", forget=True)
        await served.client.unload_adapter("poet", forget=True, allow_missing=True)


class Watcher:
    """A plugin that notes thrashing."""

    def __init__(self) -> None:
        self.events: list[ThrashEvent] = []

    @hookimpl
    def bellhousing_adapters_thrash(self, event: ThrashEvent) -> None:
        self.events.append(event)


async def test_plugins_are_told_of_thrashing(serving: Serve, tmp_path: Path) -> None:
    watcher = Watcher()
    async with serving(plugin=watcher, **settings(tmp_path, adapter_slots=1)) as served:
        for name in ("poet", "judge"):
            await served.client.register_adapter(name, write(tmp_path / "root", name))
        for _ in range(4):
            for name in ("poet", "judge"):
                await served.client.complete("abc", adapter=name, max_tokens=1)
    assert [(event.model, event.slots, event.reloads) for event in watcher.events] == [("sim", 1, 4)]


async def test_lists_watches_and_imports_go_over_the_contract(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        for number in range(3):
            write(tmp_path / "root" / "many", f"n{number}")
        (tmp_path / "root" / "many" / "n1" / "second.safetensors").write_bytes(b"more")
        messages = [m async for m in served.client.import_adapters((tmp_path / "root" / "many").as_uri(), tags=["x"])]
        assert [message.WhichOneof("event") for message in messages] == ["registered", "refused", "registered", "done"]
        assert (messages[1].refused.name, messages[1].refused.reason) == ("n1", "ADAPTER_FORMAT")
        assert (messages[-1].done.registered, messages[-1].done.refused, messages[-1].total) == (2, 1, 3)
        assert [adapter.name async for adapter in served.client.adapters(tags=["x"])] == ["n0", "n2"]
        told = []
        async for message in served.client.watch_adapters(name_prefix="n"):
            told.append((message.change, message.adapter.name))
            if message.change == pb.ADAPTER_CHANGE_COMPLETE:
                await served.client.unload_adapter("n0", forget=True)
            if message.change == pb.ADAPTER_CHANGE_REMOVED:
                break
        assert told == [
            (pb.ADAPTER_CHANGE_PRESENT, "n0"), (pb.ADAPTER_CHANGE_PRESENT, "n2"), (pb.ADAPTER_CHANGE_COMPLETE, ""),
            (pb.ADAPTER_CHANGE_REMOVED, "n0"),
        ]  # fmt: skip


async def test_a_directory_that_cannot_be_an_adapter_ends_no_import(serving: Serve, tmp_path: Path) -> None:
    many = tmp_path / "root" / "many"
    async with serving(**settings(tmp_path)) as served:
        for name in ("good", "spoilt"):
            write(many, name)
        (many / "spoilt" / "adapter_config.json").write_text('{"base_model_name_or_path": "\\ud800"}')
        shutil.copytree(many / "good", os.fsdecode(os.fsencode(many) + b"/k\xff"))
        *told, last = [message async for message in served.client.import_adapters(many.as_uri())]
        refused = {message.refused.name: message.refused.reason for message in told if message.HasField("refused")}
        assert refused == {"k\\udcff": "INVALID_REQUEST", "spoilt": "ADAPTER_FORMAT"}
        assert (last.done.registered, last.done.refused) == (1, 2)
        with pytest.raises(PreconditionFailed) as no_directory:
            await anext(aiter(served.client.import_adapters((many / "good" / "adapter_model.safetensors").as_uri())))
        assert no_directory.value.reason == "ADAPTER_FORMAT"


@pytest.mark.parametrize("state", [0, 99])
async def test_a_state_that_no_adapter_has_is_refused(serving: Serve, tmp_path: Path, state: Any) -> None:
    async with serving(**settings(tmp_path)) as served:
        with pytest.raises(InvalidRequest) as refused:
            await anext(aiter(served.client.adapters(states=[state])))
        assert [violation.field for violation in refused.value.violations] == ["states"]


async def test_a_model_that_was_unloaded_has_no_adapter_on_its_device(serving: Serve, tmp_path: Path) -> None:
    async with serving(**settings(tmp_path)) as served:
        await served.client.register_adapter("poet", write(tmp_path / "root", "poet"))
        await served.client.load_adapter("poet")
        assert list((await served.client.load()).resident_adapters) == ["poet"]
        _ = [message async for message in served.client.unload_model("sim")]
        found = await served.client.adapter("poet")
        assert (found.state, list(found.replicas)) == (pb.ADAPTER_STATE_HOST, [])
        assert list((await served.client.load()).resident_adapters) == []


async def test_the_default_registry_is_a_file_made_at_the_first_registration(
    serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    given = settings(tmp_path)
    given["config"] = {"adapters": {}}
    file = tmp_path / "data" / "bellhousing" / "adapters.db"
    async with serving(**given) as served:
        await served.client.complete("abc", max_tokens=1)
        with pytest.raises(NotFound):
            await served.client.complete("abc", adapter="poet", max_tokens=1)
        assert not file.exists()
        await served.client.register_adapter("poet", write(tmp_path / "root", "poet"))
        assert file.exists()
    async with serving(**given) as served:
        assert (await served.client.adapter("poet")).rank == 8


def test_a_server_imports_no_database_until_an_adapter_is_registered() -> None:
    code = "import sys, bellhousing.server; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
