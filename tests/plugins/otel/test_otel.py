"""What a real server sends to a real collector."""

from collections.abc import Iterator
from typing import Any

import grpc.aio
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bellhousing import AsyncClient
from bellhousing.buckets import REQUEST_DURATION, TIME_PER_OUTPUT_TOKEN, TIME_TO_FIRST_TOKEN
from bellhousing.errors import ConfigurationError, EngineFault, InvalidRequest, NotFound
from bellhousing.plugins import Plugins
from bellhousing.testing import serving
from bellhousing.v1 import inference_pb2, inference_pb2_grpc
from bellhousing_otel import OtelPlugin
from tests.plugins.otel.collector import Collector, collecting, values

ENDLESS: dict[str, Any] = {"end_probability": 0.0}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A running collector that the plugin sends to; it has everything once the server has ended."""
    with collecting() as running:
        monkeypatch.setenv("BELLHOUSING_OTEL_ENDPOINT", running.endpoint)
        yield running


async def test_a_request_is_one_span_with_its_timeline_as_events(collector: Collector) -> None:
    options = {**ENDLESS, "first_token_seconds": 0.02, "inter_token_seconds": 0.02}
    async with serving("simulator", plugin=OtelPlugin(), options=options, model={"name": "m"}) as served:
        await served.client.complete("abc", max_tokens=3)
    (span,) = collector.spans
    assert (span.name, span.kind, span.parent_span_id) == ("text_completion m", Span.SPAN_KIND_SERVER, b"")
    assert [event.name for event in span.events] == ["dispatched", "started", "first_token", "last_token"]
    stamps = [event.time_unix_nano for event in span.events]
    assert [span.start_time_unix_nano, *stamps, span.end_time_unix_nano] == sorted(
        [span.start_time_unix_nano, *stamps, span.end_time_unix_nano]
    )
    assert span.status.code == Status.STATUS_CODE_UNSET


async def test_a_span_tells_who_asked_and_what_it_took(collector: Collector) -> None:
    options = {**ENDLESS, "prefix_cache": True}
    async with (
        serving("simulator", plugin=OtelPlugin(), options=options, model={"name": "m"}) as served,
        AsyncClient(served.address, tenant="a") as client,
    ):
        await client.complete(messages=[{"role": "user", "content": "abc"}], max_tokens=3, n=2, request_id="mine")
    (span,) = collector.spans
    told = values(span.attributes)
    assert told.pop("gen_ai.usage.input_tokens") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "bellhousing",
        "gen_ai.request.model": "m",
        "gen_ai.response.id": "mine",
        "gen_ai.response.finish_reasons": ("max_tokens", "max_tokens"),
        "gen_ai.usage.output_tokens": 6,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "rpc.response.status_code": "OK",
        "bellhousing.backend": "simulator",
        "bellhousing.tenant": "a",
    }
    assert collector.resource["service.name"] == "bellhousing"


async def test_a_callers_trace_goes_on_in_the_servers_span(collector: Collector) -> None:
    request = inference_pb2.GenerateRequest(text="abc", sampling=inference_pb2.Sampling(max_tokens=1))
    metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1"))
    async with (
        serving("simulator", plugin=OtelPlugin()) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        stub: Any = inference_pb2_grpc.InferenceStub(channel)
        await stub.Complete(request, metadata=metadata)
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "vendor=1")


@pytest.mark.parametrize("parent", [f"00-{TRACE}-{PARENT}-00", "nonsense"], ids=["not sampled", "malformed"])
async def test_a_caller_that_samples_nothing_gets_no_span_and_nonsense_begins_a_trace(
    collector: Collector, parent: str
) -> None:
    request = inference_pb2.GenerateRequest(text="abc", sampling=inference_pb2.Sampling(max_tokens=1))
    async with (
        serving("simulator", plugin=OtelPlugin()) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        stub: Any = inference_pb2_grpc.InferenceStub(channel)
        await stub.Complete(request, metadata=(("traceparent", parent),))
    expected = [] if parent.endswith("-00") else [b""]
    assert [span.parent_span_id for span in collector.spans] == expected


async def test_only_failures_of_the_server_are_errors_and_each_span_names_its_reason(collector: Collector) -> None:
    options = {**ENDLESS, "faults": [{"kind": "error", "after_tokens": 2, "match": "bad"}]}
    async with serving("simulator", plugin=OtelPlugin(), options=options) as served:
        for error, prompt, fields in (
            (EngineFault, "bad", {"max_tokens": 4}),
            (InvalidRequest, "abc", {"temperature": -1}),
            (NotFound, "abc", {"model": "nobody"}),
        ):
            with pytest.raises(error):
                await served.client.complete(prompt, **fields)
    told = [(span.status.code, values(span.attributes)) for span in collector.spans]
    assert [(code, v["rpc.response.status_code"], v["error.type"]) for code, v in told] == [
        (Status.STATUS_CODE_ERROR, "INTERNAL", told[0][1]["error.type"]),
        (Status.STATUS_CODE_UNSET, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (Status.STATUS_CODE_UNSET, "NOT_FOUND", "MODEL_NOT_FOUND"),
    ]
    assert told[0][1]["gen_ai.usage.output_tokens"] == 2


async def test_the_metrics_count_requests_and_tokens_and_time_them(collector: Collector) -> None:
    async with serving("simulator", plugin=OtelPlugin(), options=ENDLESS, model={"name": "m"}) as served:
        for tokens in (2, 3):
            await served.client.complete("abc", max_tokens=tokens)
        with pytest.raises(InvalidRequest):
            await served.client.complete("abc", temperature=-1)
    counted = {values(p.attributes).get("error.type"): p.as_int for p in points(collector, "bellhousing.requests")}
    assert counted == {None: 2, "INVALID_REQUEST": 1}
    spent = {values(p.attributes)["gen_ai.token.type"]: p.as_int for p in points(collector, "bellhousing.tokens")}
    assert spent == {"input": 6, "output": 5}
    assert [p.as_int for p in points(collector, "bellhousing.requests.active")] == [0]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("gen_ai.server.request.duration", REQUEST_DURATION),
        ("gen_ai.server.time_to_first_token", TIME_TO_FIRST_TOKEN),
        ("gen_ai.server.time_per_output_token", TIME_PER_OUTPUT_TOKEN),
    ],
)
async def test_histograms_have_the_buckets_of_the_conventions(
    collector: Collector, name: str, bounds: tuple[float, ...]
) -> None:
    async with serving("simulator", plugin=OtelPlugin(), options=ENDLESS, model={"name": "m"}) as served:
        await served.client.complete("abc", max_tokens=3)
    (point,) = points(collector, name)
    assert (tuple(point.explicit_bounds), point.count) == (bounds, 1)
    assert collector.metrics[name].unit == "s"


def points(collector: Collector, name: str) -> Any:
    metric = collector.metrics[name]
    return getattr(metric, str(metric.WhichOneof("data"))).data_points


async def test_neither_prompts_nor_outputs_are_sent(collector: Collector) -> None:
    async with serving("simulator", plugin=OtelPlugin(), options=ENDLESS) as served:
        answer = await served.client.complete("a secret prompt", max_tokens=24)
        with pytest.raises(InvalidRequest):
            await served.client.complete("a secret prompt", temperature=-1)
    assert len(collector.spans) == 2
    assert b"secret" not in collector.received
    assert answer.outputs[0].text.encode() not in collector.received


async def test_a_collector_that_is_not_there_harms_no_request_and_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bellhousing_otel.exporter.CLOSE_SECONDS", 0.1)
    monkeypatch.setenv("BELLHOUSING_OTEL_ENDPOINT", "http://127.0.0.1:9")
    async with serving("simulator", plugin=OtelPlugin(), options=ENDLESS) as served:
        answer = await served.client.complete("abc", max_tokens=3)
    assert answer.finished.usage.completion_tokens == 3


async def test_standard_variables_name_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
    async with serving("simulator", plugin=OtelPlugin()) as served:
        await served.client.complete("abc", max_tokens=1)
    assert collector.resource["service.name"] == "gateway"


async def test_an_endpoint_that_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLHOUSING_OTEL_ENDPOINT", "collector:4317")
    with pytest.raises(ConfigurationError, match=r"variables BELLHOUSING_OTEL_\*: endpoint: .* found 'collector:4317'"):
        async with serving("simulator", plugin=OtelPlugin()):
            pass


async def test_without_an_endpoint_nothing_is_sent(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BELLHOUSING_OTEL_ENDPOINT")
    async with serving("simulator", plugin=OtelPlugin()) as served:
        await served.client.complete("abc", max_tokens=1)
    assert (collector.spans, collector.received) == ([], b"")


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert "otel" in Plugins.installed().names()
