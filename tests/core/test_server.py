"""The contract, seen by a client of a real server with the simulator behind it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from bellhousing import AsyncClient
from bellhousing.backend import ModelInfo
from bellhousing.errors import (
    AlreadyExists,
    BellhousingError,
    Cancelled,
    ContextOverflow,
    DeadlineExceeded,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    PreconditionFailed,
    StreamBroken,
)
from bellhousing.events import Progress
from bellhousing.testing import Served
from bellhousing.v1 import admin_pb2, discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_simulator import SimulatorBackend
from tests.core.conftest import NO_RETRY, Serve

SLOW = {"inter_token_seconds": 0.02, "end_probability": 0.0}


async def until_running(served: Served, count: int = 1) -> None:
    """Return once `count` requests are in the engine."""
    while served.model.admission.running < count:
        await asyncio.sleep(0.005)


async def until_idle(served: Served) -> None:
    """Return once nothing runs or waits."""
    async with asyncio.timeout(20):
        gate = served.model.admission
        while gate.running or gate.queued or served.model.in_flight:
            await asyncio.sleep(0.005)


async def raw_messages(served: Served, **fields: object) -> list[str]:
    """Return the kinds of the messages of a generation, in order."""
    stub = served.client._stubs.inference
    return [m.WhichOneof("event") async for m in stub.Generate(pb.GenerateRequest(**fields))]  # type: ignore[arg-type]


async def test_a_stream_is_started_then_deltas_then_finished(serving: Serve) -> None:
    async with serving(options={"end_probability": 0.0}) as served:
        stream = pb.StreamOptions(coalescing=pb.COALESCING_NEVER)
        kinds = await raw_messages(served, text="abc", sampling=pb.Sampling(max_tokens=5), stream=stream)
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert set(kinds[1:-1]) == {"delta"}


async def test_the_unary_form_gives_the_same_output(serving: Serve) -> None:
    async with serving() as served:
        stream = served.client.generate("abc", max_tokens=40, seed=3, logprobs=1)
        deltas = [delta async for delta in stream]
        whole = await served.client.complete("abc", max_tokens=40, seed=3, logprobs=1)
    assert whole.outputs[0].text == stream.text
    assert list(whole.outputs[0].token_ids) == [i for d in deltas for i in d.token_ids]
    assert list(whole.outputs[0].logprobs) == [entry for d in deltas for entry in d.logprobs]
    assert stream.finished is not None
    assert whole.finished.sequences == stream.finished.sequences


async def test_merging_changes_nothing_but_the_number_of_messages(serving: Serve) -> None:
    async with serving(options={"end_probability": 0.0}) as served:
        both = []
        for coalescing in (True, False):
            stream = served.client.generate("abc", max_tokens=300, seed=1, n=2, logprobs=0, coalescing=coalescing)
            deltas = [delta async for delta in stream]
            outputs = [
                (
                    "".join(d.text for d in deltas if d.index == index),
                    [i for d in deltas if d.index == index for i in d.token_ids],
                    [entry.logprob for d in deltas if d.index == index for entry in d.logprobs],
                )
                for index in (0, 1)
            ]
            both.append((len(deltas), outputs))
    (merged, first), (single, second) = both
    assert first == second
    assert single > 400  # tokens that are parts of one character travel together
    assert merged < single


async def test_the_seed_used_is_reported_and_repeats_the_output(serving: Serve) -> None:
    async with serving() as served:
        first = await served.client.complete("abc", max_tokens=30)
        again = await served.client.complete("abc", max_tokens=30, seed=first.started.effective.seed)
    assert again.outputs[0].text == first.outputs[0].text


async def test_usage_and_timeline_agree_with_what_was_delivered(serving: Serve) -> None:
    async with serving(options={"first_token_seconds": 0.02, "end_probability": 0.0}) as served:
        whole = await served.client.complete("abc", max_tokens=10)
    usage, timeline = whole.finished.usage, whole.finished.timeline
    assert usage.completion_tokens == len(whole.outputs[0].token_ids) == whole.outputs[0].token_count == 10
    assert usage.prompt_tokens == 3
    stamps = [
        getattr(timeline, name).ToNanoseconds() for name in ("dispatched", "started", "first_token", "last_token")
    ]
    assert stamps == sorted(stamps)
    assert timeline.first_token.ToNanoseconds() - timeline.started.ToNanoseconds() >= 0.019e9


async def test_a_stop_string_ends_the_output_before_it(serving: Serve) -> None:
    async with serving(options={"end_probability": 0.0}) as served:
        free = await served.client.complete("abc", max_tokens=60, seed=5)
        text = free.outputs[0].text
        stop = text[10:13]
        cut = await served.client.complete("abc", max_tokens=60, seed=5, stop=[stop])
        kept = await served.client.complete("abc", max_tokens=60, seed=5, stop=[stop], include_stop=True)
    before = text.split(stop, 1)[0]
    assert cut.outputs[0].text == before
    assert kept.outputs[0].text == before + stop
    assert cut.finished.sequences[0].finish_reason == pb.FINISH_REASON_STOP_STRING
    assert cut.finished.sequences[0].stop_string == stop


async def test_a_time_budget_ends_the_output_well(serving: Serve) -> None:
    async with serving(options=SLOW) as served:
        whole = await served.client.complete("abc", max_tokens=1000, time_budget=0.15)
        await until_idle(served)
    assert whole.finished.sequences[0].finish_reason == pb.FINISH_REASON_TIME_BUDGET
    assert 1 <= whole.finished.usage.completion_tokens < 20


async def test_every_wrong_field_is_named_once(serving: Serve) -> None:
    async with serving() as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.client.complete(
                "abc", temperature=-1, top_p=0, seed=1, stop=[""], logit_bias={99999: 1.0}, n=0, time_budget=-1
            )
    assert sorted(v.field for v in refused.value.violations) == [
        "sampling.logit_bias",
        "sampling.n",
        "sampling.temperature",
        "sampling.top_p",
        "stopping.strings[0]",
        "time_budget",
    ]


async def test_an_output_with_a_form_cannot_ignore_its_end(serving: Serve) -> None:
    async with serving() as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.client.complete("abc", choice=["a", "b"], ignore_eos=True)
    assert [v.field for v in refused.value.violations] == ["sampling.ignore_eos"]


async def test_a_field_the_engine_lacks_is_refused_unless_best_effort_asks_otherwise(serving: Serve) -> None:
    async with serving() as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.client.complete("abc", regex="a+")
        ignored = await served.client.complete("abc", regex="a+", max_tokens=2, best_effort=True)
    assert [v.field for v in refused.value.violations] == ["structured_output.regex"]
    assert [f.field for f in ignored.started.ignored] == ["structured_output.regex"]


async def test_an_unknown_model_is_not_found_and_the_near_name_told(serving: Serve) -> None:
    async with serving(model={"name": "smollm2"}) as served:
        with pytest.raises(NotFound) as refused:
            await served.client.complete("abc", model="smolm2")
    assert refused.value.near == ("smollm2",)
    assert refused.value.reason == "MODEL_NOT_FOUND"


async def test_an_unknown_adapter_is_not_found_whatever_else_is_wrong(serving: Serve) -> None:
    async with serving() as served:
        with pytest.raises(NotFound) as refused:
            await served.client.complete("abc", adapter="poet", temperature=-1)
    assert refused.value.reason == "ADAPTER_NOT_FOUND"


class WithoutAdapters(SimulatorBackend):
    """The simulator, declaring none of its adapters."""

    name = "without-adapters"

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        info = await super().start(progress)
        told = info.capabilities
        parameters = {name: limits for name, limits in told.parameters.items() if name != "adapter"}
        return replace(info, capabilities=replace(told, parameters=parameters, adapters="none"))


async def test_an_adapter_is_an_unsupported_field_where_there_are_none(serving: Serve) -> None:
    async with serving(WithoutAdapters) as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.client.complete("abc", adapter="poet")
    assert [v.field for v in refused.value.violations] == ["adapter"]


async def test_a_prompt_over_the_context_is_out_of_range_with_both_numbers(serving: Serve) -> None:
    async with serving(options={"context_length": 16}) as served:
        for prompt in ("a" * 20, [1] * 20):
            with pytest.raises(ContextOverflow) as refused:
                await served.client.complete(prompt)
            assert (refused.value.prompt_tokens, refused.value.context_length) == (20, 16)


async def test_a_message_that_is_too_big_is_refused(serving: Serve) -> None:
    async with serving(config={"server": {"max_message_bytes": 2048}}) as served:
        with pytest.raises(Overloaded):
            await served.client.complete("a" * 5000)
        assert (await served.client.complete("abc", max_tokens=1)).finished.usage.completion_tokens <= 1


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(serving: Serve) -> None:
    model = {"batching": {"max_sequences": 1}, "admission": {"max_queued": 1}}
    async with serving(options=SLOW, model=model) as served:
        running = asyncio.create_task(served.client.complete("abc", max_tokens=20))
        await until_running(served)
        queued = asyncio.create_task(served.client.complete("abc", max_tokens=1))
        while not served.model.admission.queued:
            await asyncio.sleep(0.005)
        with pytest.raises(Overloaded) as refused:
            await served.client.complete("abc")
        assert refused.value.retry_after is not None
        assert refused.value.retry_after > 0
        await asyncio.gather(running, queued)


@pytest.mark.parametrize("options", [{"first_token_seconds": 30.0}, SLOW], ids=["prefill", "decode"])
async def test_the_deadline_ends_the_work(serving: Serve, options: dict[str, float]) -> None:
    async with serving(options=options) as served:
        with pytest.raises(DeadlineExceeded):
            await served.client.complete("abc", max_tokens=4000, timeout=0.2)
        await until_idle(served)


async def test_an_expired_request_never_reaches_the_engine(serving: Serve) -> None:
    async with serving(options=SLOW, model={"batching": {"max_sequences": 1}}) as served:
        running = asyncio.create_task(served.client.complete("abc", max_tokens=30))
        await until_running(served)
        with pytest.raises(DeadlineExceeded):
            await served.client.complete("abc", timeout=0.1)
        await asyncio.sleep(0.05)
        assert served.model.admission.queued == 0
        await running


@pytest.mark.parametrize("options", [{"first_token_seconds": 30.0}, SLOW], ids=["prefill", "decode"])
async def test_a_client_that_leaves_ends_the_work(serving: Serve, options: dict[str, float]) -> None:
    async with serving(options=options) as served:
        task = asyncio.create_task(served.client.complete("abc", max_tokens=4000))
        await until_running(served)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until_idle(served)


async def test_leaving_the_loop_cancels_the_generation(serving: Serve) -> None:
    async with serving(options=SLOW) as served:
        async with served.client.generate("abc", max_tokens=4000) as stream:
            async for _ in stream:
                break
        await until_idle(served)


async def test_a_thousand_cancelled_requests_leave_nothing_behind(serving: Serve) -> None:
    import gc

    import psutil

    process = psutil.Process()

    async def cancelled(served: Served, number: int) -> None:
        task = asyncio.create_task(served.client.complete("abc", max_tokens=4000))
        await asyncio.sleep((number % 7) * 0.003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with serving(options=SLOW, model={"batching": {"max_sequences": 8}}) as served:
        await asyncio.gather(*(cancelled(served, n) for n in range(50)))
        await until_idle(served)
        gc.collect()
        tasks, files, threads = len(asyncio.all_tasks()), process.num_fds(), process.num_threads()
        for _ in range(20):
            await asyncio.gather(*(cancelled(served, n) for n in range(50)))
        await until_idle(served)
        await asyncio.sleep(0.1)
        gc.collect()
        assert len(asyncio.all_tasks()) <= tasks + 2
        assert process.num_fds() <= files + 1
        assert process.num_threads() <= threads
        assert served.model.in_flight == {}


FAULTS = [
    ("error", EngineFault),
    ("unavailable", EngineUnavailable),
    ("unexpected_exception", EngineFault),
    ("end_without_finished", StreamBroken),
    ("extra_after_finished", StreamBroken),
    ("two_started", StreamBroken),
    ("wrong_count", StreamBroken),
]


@pytest.mark.parametrize(("kind", "expected"), FAULTS, ids=[kind for kind, _ in FAULTS])
async def test_a_fault_of_the_engine_is_a_status_and_never_a_success(
    serving: Serve, kind: str, expected: type[BellhousingError]
) -> None:
    options = {"faults": [{"kind": kind, "after_tokens": 3, "match": "bad"}], "end_probability": 0.0}
    async with serving(options=options) as served:
        stream = served.client.generate("bad", max_tokens=8, coalescing=False)
        with pytest.raises(expected) as failed:
            _ = [delta async for delta in stream]
        assert stream.finished is None
        assert failed.value.backend == "simulator"
        assert failed.value.metadata["partial_output"] == "true"
        whole = await served.client.complete("good", max_tokens=8)
        assert whole.finished.usage.completion_tokens == 8


async def test_a_hanging_engine_is_ended_by_the_deadline(serving: Serve) -> None:
    async with serving(options={"faults": [{"kind": "hang"}], "end_probability": 0.0}) as served:
        with pytest.raises(DeadlineExceeded):
            await served.client.complete("abc", timeout=0.2)
        await until_idle(served)


async def test_an_operator_can_end_a_request(serving: Serve) -> None:
    async with serving(options=SLOW) as served:
        task = asyncio.create_task(served.client.complete("abc", max_tokens=4000, request_id="mine"))
        await until_running(served)
        with pytest.raises(AlreadyExists):
            await served.client.complete("abc", request_id="mine")
        await served.client.abort("mine")
        with pytest.raises(Cancelled):
            await task
        with pytest.raises(NotFound):
            await served.client.abort("mine")


async def test_a_drain_lets_streams_finish_and_refuses_new_requests(serving: Serve) -> None:
    async with serving(options=SLOW) as served:
        task = asyncio.create_task(served.client.complete("abc", max_tokens=20))
        await until_running(served)
        assert await served.client.is_serving()
        drained = asyncio.create_task(served.server.drain(10))
        await asyncio.sleep(0.02)
        with pytest.raises(EngineUnavailable):
            await served.client.complete("abc")
        assert not await served.client.is_serving()
        assert (await task).finished.usage.completion_tokens == 20
        await drained


async def test_a_drain_ends_what_outlives_the_grace(serving: Serve) -> None:
    async with serving(options=SLOW) as served:
        task = asyncio.create_task(served.client.complete("abc", max_tokens=4000))
        await until_running(served)
        await served.server.drain(0.1)
        with pytest.raises(EngineUnavailable):
            await task


async def test_health_can_be_watched_while_a_model_comes_and_goes(serving: Serve) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with serving(model={"name": "m"}) as served:
        seen: list[int] = []

        async def watch() -> None:
            stub: Any = health_pb2_grpc.HealthStub(served.client._channel)
            async for message in stub.Watch(health_pb2.HealthCheckRequest(service="m")):
                seen.append(message.status)

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        _ = [m async for m in served.client.unload_model("m")]
        loads = [m async for m in served.client.load_model("m")]
        await asyncio.sleep(0.05)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    serving_now, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert seen[0] == seen[-1] == serving_now
    assert not_serving in seen
    assert loads[-1].loaded.instance_id
    assert all(m.WhichOneof("event") == "progress" for m in loads[:-1])


async def test_a_sleeping_model_refuses_and_a_woken_one_serves(serving: Serve) -> None:
    async with serving() as served:
        admin = served.client._stubs.admin
        await admin.Sleep(admin_pb2.SleepRequest())
        with pytest.raises(EngineUnavailable):
            await served.client.complete("abc")
        await admin.Wake(admin_pb2.WakeRequest())
        await served.client.complete("abc", max_tokens=1)


async def test_a_model_that_sleeps_sleeps_on_and_takes_no_other_level(serving: Serve) -> None:
    async with serving() as served:
        admin = served.client._stubs.admin
        await admin.Sleep(admin_pb2.SleepRequest())
        await admin.Sleep(admin_pb2.SleepRequest(level=1))
        with pytest.raises(grpc.aio.AioRpcError, match="is sleeping, expected serving") as refused:
            await admin.Sleep(admin_pb2.SleepRequest(level=2))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await admin.Wake(admin_pb2.WakeRequest())
        await admin.Sleep(admin_pb2.SleepRequest(level=2))


async def test_a_model_whose_engine_died_does_not_go_to_sleep(serving: Serve) -> None:
    crash, late = {"faults": [{"kind": "crash", "after_tokens": 0}]}, {"first_seconds": 60.0, "most_seconds": 60.0}
    async with serving("simulator-process", model={"restart": late}, options=crash) as served:
        with pytest.raises(EngineUnavailable):
            await served.client.complete("abc")
        with pytest.raises(grpc.aio.AioRpcError, match="is restarting, expected serving"):
            await served.client._stubs.admin.Sleep(admin_pb2.SleepRequest())
        assert (await served.client.model()).state == discovery_pb2.MODEL_STATE_RESTARTING


async def test_discovery_lists_every_parameter_with_its_range(serving: Serve) -> None:
    async with serving() as served:
        model = await served.client.model()
    found = {p.field: p for p in model.capabilities.parameters}
    assert model.state == discovery_pb2.MODEL_STATE_SERVING
    assert found["stopping.strings"].by_server
    assert found["sampling.top_p"].exclusive_minimum
    assert (found["sampling.temperature"].minimum, found["sampling.temperature"].maximum) == (0, 100)
    assert model.defaults.temperature == 1.0
    assert model.model_digest.startswith("sha256:")


async def test_reflection_tells_the_services(serving: Serve) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async with serving() as served:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(served.client._channel)  # type: ignore[arg-type]
        messages: Any = reflection_pb2
        request = messages.ServerReflectionRequest(list_services="")
        async for answer in stub.ServerReflectionInfo(iter([request])):
            names = {service.name for service in answer.list_services_response.service}
            break
    assert {
        "bellhousing.v1.Inference",
        "bellhousing.v1.Discovery",
        "bellhousing.v1.Admin",
        "grpc.health.v1.Health",
    } <= names


async def test_a_token_opens_what_it_allows_and_nothing_else(serving: Serve) -> None:
    import hashlib

    token = {"sha256": hashlib.sha256(b"secret").hexdigest(), "tenant": "acme", "services": ["inference"]}
    async with serving(config={"auth": {"tokens": [token]}}) as served:
        with pytest.raises(BellhousingError) as anonymous:
            await served.client.complete("abc")
        assert anonymous.value.code is grpc.StatusCode.UNAUTHENTICATED
        async with AsyncClient(served.server.address, token="wrong", retry=NO_RETRY) as client:
            with pytest.raises(BellhousingError) as unknown:
                await client.complete("abc")
            assert unknown.value.code is grpc.StatusCode.UNAUTHENTICATED
        async with AsyncClient(served.server.address, token="secret", retry=NO_RETRY) as client:
            await client.complete("abc", max_tokens=1)
            with pytest.raises(BellhousingError) as admin:
                await client.drain()
            assert admin.value.code is grpc.StatusCode.PERMISSION_DENIED


async def test_adapters_come_only_from_allowed_directories(serving: Serve, tmp_path: object) -> None:
    from pathlib import Path

    root = Path(str(tmp_path)) / "adapters"
    (root / "poet").mkdir(parents=True)
    (root / "poet" / "adapter_model.safetensors").write_bytes(b"weights")
    (root / "evil").mkdir()
    (root / "evil" / "adapter_model.bin").write_bytes(b"weights")
    async with serving(model={"adapter_roots": [str(root)]}) as served:
        client = served.client
        for source in ("file:///etc", f"file://{root}/../..", f"file://{root}/none", f"file://{root}/evil", "s3://x/y"):
            with pytest.raises(PreconditionFailed):
                await client.register_adapter("a", source)
        registered = await client.register_adapter("poet", f"file://{root}/poet")
        base = await client.complete("abc", max_tokens=30, seed=1)
        tuned = await client.complete("abc", max_tokens=30, seed=1, adapter="poet")
        assert tuned.finished.adapter_digest == registered.digest
        assert tuned.outputs[0].text != base.outputs[0].text
        assert list((await client.load()).resident_adapters) == ["poet"]
        await client.unload_adapter("poet", forget=True)
        with pytest.raises(NotFound):
            await client.complete("abc", adapter="poet")
