"""What plugins see of a server: requests, refusals, engines, adapters, load."""

import asyncio
import hashlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from bellhousing import AsyncClient
from bellhousing.backend import EngineLoad, ModelInfo
from bellhousing.config import load_config
from bellhousing.errors import (
    AlreadyExists,
    BellhousingError,
    ConfigurationError,
    ContextOverflow,
    EngineFault,
    InvalidRequest,
    NotFound,
    Overloaded,
    Unauthenticated,
)
from bellhousing.events import Progress
from bellhousing.hookspecs import AdapterEvent, hookimpl
from bellhousing.load import Loads
from bellhousing.plugins import Plugins
from bellhousing.server import Server
from bellhousing.timeline import Timeline
from bellhousing.v1 import inference_pb2, inference_pb2_grpc
from bellhousing_simulator import SimulatorBackend
from tests.core.conftest import Serve


class Observer:
    """Notes every hook that fires for a request; some of its own hooks fail."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.finished: list[Timeline] = []
        self.refused: list[Timeline] = []

    @hookimpl
    def bellhousing_request_refused(self, timeline: Timeline) -> None:
        self.refused.append(timeline)

    @hookimpl
    def bellhousing_request_received(self, timeline: Timeline) -> None:
        self.seen.append("received")

    @hookimpl
    def bellhousing_request_dispatched(self, timeline: Timeline) -> None:
        self.seen.append("dispatched")

    @hookimpl
    def bellhousing_first_token(self, timeline: Timeline) -> None:
        self.seen.append("first_token")
        raise RuntimeError("a plugin's defect harms nobody")

    @hookimpl
    def bellhousing_delta(self, tokens: int, index: int) -> None:
        self.seen.append(f"{tokens} of {index}")

    @hookimpl
    def bellhousing_request_finished(self, timeline: Timeline) -> None:
        self.finished.append(timeline)


@pytest.fixture
def observer() -> Observer:
    """A plugin that notes what it sees."""
    return Observer()


async def test_plugins_see_one_timeline_for_each_request(serving: Serve, observer: Observer) -> None:
    async with serving(options={"end_probability": 0.0}, plugin=observer) as served:
        await served.client.complete("abc", max_tokens=2)
        with pytest.raises(ContextOverflow):
            await served.client.complete("a" * 9000)
    expected = ["received", "dispatched", "first_token", "1 of 0", "1 of 0", "received", "dispatched"]
    assert observer.seen == expected
    assert [(t.code, t.reason, t.finish_reasons, t.completion_tokens) for t in observer.finished] == [
        ("OK", "max_tokens", ("max_tokens",), 2),
        ("OUT_OF_RANGE", "CONTEXT_LENGTH_EXCEEDED", (), 0),
    ]


async def test_each_sequence_of_a_request_has_its_own_deltas(serving: Serve, observer: Observer) -> None:
    async with serving(options={"end_probability": 0.0}, plugin=observer) as served:
        await served.client.complete("abc", max_tokens=2, n=2)
    assert sorted(seen for seen in observer.seen if " of " in seen) == ["1 of 0", "1 of 0", "1 of 1", "1 of 1"]
    assert [(t.completion_tokens, t.finish_reasons) for t in observer.finished] == [(4, ("max_tokens", "max_tokens"))]


class DeltaObserver:
    """Notes deltas in a list that others write to."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    @hookimpl
    def bellhousing_delta(self, timeline: Timeline, tokens: int, index: int) -> None:
        self.seen.append(f"{self.name} {tokens} of {index}")


class DefectiveObserver(DeltaObserver):
    """Raises."""

    @hookimpl
    def bellhousing_delta(self, timeline: Timeline, tokens: int, index: int) -> None:
        super().bellhousing_delta(timeline, tokens, index)
        raise RuntimeError("a defect")


class AroundObservers:
    """Stands around all other observers of deltas."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @hookimpl(wrapper=True)
    def bellhousing_delta(self, index: int) -> Generator[None, Any, Any]:
        self.seen.append(f"before {index}")
        result = yield
        self.seen.append(f"after {index}")
        return result


def told(*observers: object) -> Plugins:
    """Return plugins, registered in order."""
    plugins = Plugins()
    for observer in observers:
        plugins.register(observer)
    return plugins


def test_observers_of_deltas_are_told_in_pluggys_order_the_last_one_first() -> None:
    seen: list[str] = []
    plugins = told(DeltaObserver("a", seen), DeltaObserver("b", seen))
    assert plugins.has_delta_observers
    plugins.delta(Timeline(), 3, 1)
    assert seen == ["b 3 of 1", "a 3 of 1"]


def test_an_observer_of_deltas_that_raises_harms_nobody_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    plugins = told(DefectiveObserver("a", seen))
    plugins.delta(Timeline(), 1, 0)
    plugins.delta(Timeline(), 1, 0)
    assert seen == ["a 1 of 0"] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "a plugin failed while observing; the request goes on"
    ] * 2


def test_a_wrapper_of_deltas_stands_around_the_others() -> None:
    seen: list[str] = []
    told(AroundObservers(seen), DeltaObserver("a", seen)).delta(Timeline(), 2, 5)
    assert seen == ["before 5", "a 2 of 5", "after 5"]


def test_without_an_observer_of_deltas_there_is_nothing_to_tell(observer: Observer) -> None:
    assert not told(LoadObserver()).has_delta_observers
    assert told(observer).has_delta_observers


async def test_the_tokens_of_a_request_that_fails_are_counted(serving: Serve, observer: Observer) -> None:
    options = {"end_probability": 0.0, "faults": [{"kind": "error", "after_tokens": 3}]}
    async with serving(options=options, plugin=observer) as served:
        with pytest.raises(EngineFault):
            await served.client.complete("abc", max_tokens=9)
    assert [(t.code, t.prompt_tokens, t.completion_tokens) for t in observer.finished] == [("INTERNAL", 3, 3)]


async def test_a_timeline_tells_a_chat_and_carries_the_callers_trace_context(
    serving: Serve, observer: Observer
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = inference_pb2.GenerateRequest(sampling=inference_pb2.Sampling(max_tokens=1))
    request.chat.messages.add(role=inference_pb2.CHAT_ROLE_USER, content="abc")
    async with serving(plugin=observer) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub: Any = inference_pb2_grpc.InferenceStub(channel)
        await stub.Complete(request, metadata=(("traceparent", parent), ("tracestate", "a=1"), ("other", "x")))
        await served.client.complete("abc", max_tokens=1)
    assert [(t.is_chat, dict(t.trace_context)) for t in observer.finished] == [
        (True, {"traceparent": parent, "tracestate": "a=1"}),
        (False, {}),
    ]


async def test_a_refused_request_is_told_of_once_with_its_reason_and_is_not_received(
    serving: Serve, observer: Observer
) -> None:
    async with serving(plugin=observer, model={"name": "m"}) as served:
        for error, fields in (
            (NotFound, {"model": "nobody"}),
            (NotFound, {"adapter": "nobody"}),
            (InvalidRequest, {"temperature": -1}),
        ):
            with pytest.raises(error):
                await served.client.complete("abc", **fields)
    assert [(t.model, t.backend, t.adapter, t.code, t.reason) for t in observer.refused] == [
        ("", "", "", "NOT_FOUND", "MODEL_NOT_FOUND"),
        ("m", "simulator", "", "NOT_FOUND", "ADAPTER_NOT_FOUND"),
        ("m", "simulator", "", "INVALID_ARGUMENT", "INVALID_REQUEST"),
    ]
    assert (observer.seen, observer.finished) == ([], [])


async def test_a_second_request_with_an_id_in_flight_is_told_of_as_refused(serving: Serve, observer: Observer) -> None:
    options = {"first_token_seconds": 60.0}
    async with serving(plugin=observer, options=options) as served:
        first = asyncio.create_task(served.client.complete("abc", request_id="mine"))
        async with asyncio.timeout(20):
            while "dispatched" not in observer.seen:
                await asyncio.sleep(0.01)
        with pytest.raises(AlreadyExists):
            await served.client.complete("abc", request_id="mine")
        await served.client.abort("mine")
        with pytest.raises(BellhousingError):
            await first
    assert [t.code for t in observer.refused] == ["ALREADY_EXISTS"]
    assert [t.code for t in observer.finished] == ["CANCELLED"]


async def test_a_caller_that_is_not_known_is_told_of_without_a_tenant(serving: Serve, observer: Observer) -> None:
    token = {"sha256": hashlib.sha256(b"right").hexdigest(), "tenant": "a", "services": ["inference", "discovery"]}
    async with serving(plugin=observer, config={"auth": {"tokens": [token]}}) as served:
        client = AsyncClient(served.address, token="wrong")
        with pytest.raises(Unauthenticated):
            await client.complete("abc")
        await client.close()
    assert [(t.tenant, t.code, t.reason) for t in observer.refused] == [("", "UNAUTHENTICATED", "UNAUTHENTICATED")]


class AdapterObserver:
    """Notes what becomes of adapters."""

    def __init__(self) -> None:
        self.events: list[AdapterEvent] = []

    @hookimpl
    def bellhousing_adapter_changed(self, event: AdapterEvent) -> None:
        self.events.append(event)


class FailsToLoadOne(SimulatorBackend):
    """The simulator, which cannot load the adapter `broken`."""

    name = "fails-to-load-one"

    async def load_adapter(self, adapter: Any) -> None:
        if adapter.name == "broken":
            raise EngineFault("broken")
        await super().load_adapter(adapter)


async def test_plugins_see_adapters_come_and_go(serving: Serve, tmp_path: Path) -> None:
    observer = AdapterObserver()
    model = {"name": "m", "adapter_roots": [str(tmp_path)], "adapter_slots": 1}
    async with serving(FailsToLoadOne, model=model, plugin=observer) as served:
        for name in ("poet", "judge", "broken"):
            (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
            await served.client.register_adapter(name, f"file://{tmp_path}/{name}.safetensors")
        for name in ("poet", "poet", "judge"):
            await served.client.complete("abc", adapter=name, max_tokens=1)
        await served.client.unload_adapter("judge")
        with pytest.raises(EngineFault):
            await served.client.complete("abc", adapter="broken", max_tokens=1)
    assert [(e.model, e.adapter, e.change) for e in observer.events] == [
        ("m", "poet", "loaded"),
        ("m", "poet", "evicted"),
        ("m", "judge", "loaded"),
        ("m", "judge", "unloaded"),
        ("m", "broken", "load_failed"),
    ]
    assert all(event.seconds > 0 for event in observer.events)


class LoadObserver:
    """Keeps the way to ask for a server's load, and counts its ends."""

    def __init__(self) -> None:
        self.loads: Loads | None = None
        self.stops = 0

    @hookimpl
    def bellhousing_server_started(self, loads: Loads) -> None:
        self.loads = loads

    @hookimpl
    def bellhousing_server_stopped(self) -> None:
        self.stops += 1


class TellsNothing(SimulatorBackend):
    """The simulator, whose `load` is a defect, or hangs."""

    name = "tells-nothing"
    hangs = False

    async def load(self) -> EngineLoad:
        await asyncio.sleep(3600 if self.hangs else 0)
        raise RuntimeError("a defect")


class Hangs(TellsNothing):
    """The simulator, whose `load` never returns."""

    name = "hangs"
    hangs = True


async def loads_beside(other: type[SimulatorBackend]) -> Sequence[tuple[str, float | None]]:
    """Return each model's name and KV cache use, of a server with the simulator and another one."""
    observer, plugins = LoadObserver(), Plugins()
    plugins.register(observer)
    models = [{"backend": "simulator", "name": "a"}, {"backend": other.name, "name": "b"}]
    config = load_config(None, {"server": {"port": 0}, "models": models})
    server = Server(config, plugins, backends={other.name: other})
    try:
        await server.start()
        await server.wait_serving()
        assert observer.loads
        return [(load.model, load.engine.kv_cache_usage) for load in await observer.loads()]
    finally:
        await server.stop()


@pytest.mark.parametrize("other", [TellsNothing, Hangs])
async def test_an_engine_that_tells_no_load_hides_no_other(
    other: type[SimulatorBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellhousing.load.ENGINE_SECONDS", 0.05)
    assert await loads_beside(other) == [("a", 0.0), ("b", None)]


class LoadsForEver(SimulatorBackend):
    """The simulator, which never gets ready."""

    name = "loads-for-ever"

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        await asyncio.sleep(3600)
        return await super().start(progress)


async def test_plugins_hear_of_a_server_before_its_models_have_loaded() -> None:
    observer, plugins = LoadObserver(), Plugins()
    plugins.register(observer)
    config = load_config(None, {"server": {"port": 0}, "models": [{"backend": "loads-for-ever", "name": "a"}]})
    server = Server(config, plugins, backends={"loads-for-ever": LoadsForEver})
    await server.start()
    try:
        async with asyncio.timeout(20):
            assert observer.loads
            while [load.state for load in await observer.loads()] != ["loading"]:
                await asyncio.sleep(0.01)
    finally:
        await server.stop()


async def test_plugins_hear_once_that_a_server_ended_even_one_that_never_listened(serving: Serve) -> None:
    observer, plugins = LoadObserver(), Plugins()
    plugins.register(observer)
    async with serving() as served:
        port = int(served.address.rpartition(":")[2])
        config = load_config(None, {"server": {"port": port}, "models": [{"backend": "simulator"}]})
        server = Server(config, plugins)
        with pytest.raises(ConfigurationError):
            await server.start()
        await server.stop()
        await server.stop()
    assert (observer.loads, observer.stops) == (None, 1)


async def test_a_request_that_finds_the_queue_full_was_received(serving: Serve, observer: Observer) -> None:
    model = {"admission": {"max_running": 1, "max_queued": 0}}
    async with serving(plugin=observer, model=model, options={"first_token_seconds": 60.0}) as served:
        first = asyncio.create_task(served.client.complete("abc", request_id="mine"))
        async with asyncio.timeout(20):
            while "dispatched" not in observer.seen:
                await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await served.client.complete("abc")
        await served.client.abort("mine")
        with pytest.raises(BellhousingError):
            await first
    assert (observer.refused, [t.reason for t in observer.finished]) == ([], ["QUEUE_FULL", "ABORTED_BY_OPERATOR"])
