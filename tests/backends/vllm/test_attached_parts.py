"""What of the attached backend needs no server."""

from typing import Any

import pytest

from bellhousing.errors import (
    BellhousingError,
    ConfigurationError,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
)
from bellhousing.events import Delta, Started
from bellhousing.requests import GenerationRequest, Sampling, Stopping, StructuredOutput
from bellhousing.testing import serving
from bellhousing_vllm.attached import AttachedVllmBackend
from bellhousing_vllm.attached.api import error_of
from bellhousing_vllm.attached.completion import Completion, request_body
from bellhousing_vllm.attached.metrics import load_of
from bellhousing_vllm.attached.pieces import SAMPLE, decoding_of

REQUEST = GenerationRequest("mine", (1, 2, 3), Sampling(max_tokens=4, logit_bias={7: -1.0}), Stopping(token_ids=(9,)))
METRICS = """\
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0"} 2.0
vllm:num_requests_waiting{engine="1"} 3.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.5
# TYPE vllm:prefix_cache_queries counter
vllm:prefix_cache_queries_total{engine="0"} 100.0
# TYPE vllm:spec_decode_num_draft_tokens counter
vllm:spec_decode_num_draft_tokens_total{engine="0"} 8.0
# TYPE vllm:spec_decode_num_accepted_tokens counter
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 6.0
"""


def chunk(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": "", "token_ids": [], "finish_reason": None, **choice}]}


def end(**choice: Any) -> str:
    completion = Completion(REQUEST, 3, 100)
    list(completion.events(chunk(text="a", token_ids=[5])))
    list(completion.events(chunk(**choice)))
    return completion.finished().sequences[0].reason


async def test_settings_that_belong_to_the_server_are_refused_by_name() -> None:
    model = {"name": "m", "parallelism": {"tensor": 2}, "batching": {"max_batched_tokens": 64}}
    with pytest.raises(ConfigurationError, match=r"parallelism\.tensor, batching\.max_batched_tokens: expected unset"):
        async with serving(AttachedVllmBackend, model=model):
            pass


async def test_a_server_that_is_not_there_is_named() -> None:
    options = {"url": "http://127.0.0.1:9"}
    with pytest.raises(EngineUnavailable, match="the vLLM server does not answer"):
        async with serving(AttachedVllmBackend, options=options, model={"name": "m"}):
            pass


def test_every_field_of_a_request_is_in_the_body() -> None:
    wanted = StructuredOutput("regex", "a+")
    body = request_body(GenerationRequest("x", (1,), structured_output=wanted, logprobs=2), "model", [1], 10)
    assert body["structured_outputs"] == {"regex": "a+"}
    assert body["logprobs"] == 2
    body = request_body(REQUEST, "model", [1, 2, 3], 2)
    assert (body["max_tokens"], body["logit_bias"], body["stop_token_ids"]) == (2, {"7": -1.0}, [9])


def test_the_end_token_is_left_out() -> None:
    completion = Completion(REQUEST, 3, 100)
    events = list(completion.events(chunk(text="a", token_ids=[5, 2], finish_reason="stop")))
    assert events == [Started(3), Delta("a", (5,), 1)]


def test_ends_are_told_apart() -> None:
    assert end(finish_reason="stop", token_ids=[2]) == "eos"
    assert end(finish_reason="stop", token_ids=[3], stop_reason=3) == "eos"
    assert end(finish_reason="stop", token_ids=[9], stop_reason=9) == "unspecified_stop"
    assert end(finish_reason="length") == "max_tokens"


@pytest.mark.parametrize("reason", ["abort", "error", "something new"])
def test_a_strange_end_is_an_error(reason: str) -> None:
    with pytest.raises(EngineFault, match=reason):
        end(finish_reason=reason)


def test_a_server_without_token_ids_is_an_error() -> None:
    with pytest.raises(EngineFault, match="expected a newer version"):
        list(Completion(REQUEST, 3, 100).events(chunk(text="a", token_ids=None)))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"message": "temperature must be", "param": "temperature"}}', InvalidRequest),
        (422, b'{"detail": "x"}', InvalidRequest),
        (401, b'{"error": "Unauthorized"}', PermissionDenied),
        (429, b"", Overloaded),
        (503, b"not json", EngineUnavailable),
        (500, b'{"object": "error", "message": "boom"}', EngineFault),
    ],
)
def test_an_answer_that_is_none_becomes_an_error(status: int, body: bytes, kind: type[BellhousingError]) -> None:
    assert type(error_of(status, body, REQUEST)) is kind


def test_the_field_of_a_refusal_is_named() -> None:
    error = error_of(400, b'{"error": {"message": "bad", "param": "temperature"}}', REQUEST)
    assert isinstance(error, InvalidRequest)
    assert error.violations[0].field == "sampling.temperature"


def test_metrics_of_several_engines_are_put_together() -> None:
    load = load_of(METRICS)
    assert (load.waiting, load.kv_cache_usage, load.prefix_cache_queries) == (5, 0.5, 100)
    assert load.speculative_acceptance == 0.75
    assert load.prefix_cache_hits is None


def test_spellings_of_tokens_are_told_apart() -> None:
    byte_level = ["GrÃ¼ÃŁe", ",", "Ġä¸ĸçķĮ", "Ġand", "Ċ", "Ġ", "Ġthe", "Ġrest"]  # noqa: RUF001
    sentence_piece = ["▁Gr", "<0xC3>", "<0xBC>", "ße", ",", "▁世界", "▁and", "<0x0A>", "▁", "▁the", "▁rest"]
    assert decoding_of({"token_strs": byte_level}) == "byte_level"
    assert decoding_of({"token_strs": sentence_piece}) == "byte_fallback"
    assert decoding_of({"token_strs": SAMPLE.split()}) is None
