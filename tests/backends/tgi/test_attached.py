"""What a router is asked for each field of a request, and what is refused before it is asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from bellhousing.errors import (
    ConfigurationError,
    ContextOverflow,
    EngineUnavailable,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    Unsupported,
)
from bellhousing.testing import serving
from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_tgi import AttachedTgiBackend
from tests.backends.tgi.conftest import PROMPT, STREAM, Attached, attached_to, scripted
from tests.engines.tgi import ScriptedTgi

NEUTRAL = {"top_p": 1.0, "top_k": 0, "typical_p": 1.0, "repetition_penalty": 1.0, "frequency_penalty": 0.0}
FILTERS = {"top_p": 0.9, "top_k": 40, "typical_p": 0.95}
PENALTIES = {"repetition_penalty": 1.1, "frequency_penalty": -2.0}


async def asked(attached: Attached, **wanted: Any) -> dict[str, Any]:
    """Return the parameters that the router was asked with."""
    await attached.served.client.complete(PROMPT, max_tokens=4, **wanted)
    return dict(attached.router.bodies(STREAM)[-1].json()["parameters"])


async def test_details_are_always_asked_for_and_stop_strings_never(attached: Attached) -> None:
    assert await asked(attached, temperature=0, stop=["x"]) == {
        "details": True,
        "do_sample": False,
        "max_new_tokens": 4,
    }


async def test_values_that_change_nothing_are_left_out_since_a_router_refuses_them(attached: Attached) -> None:
    parameters = await asked(attached, temperature=1.0, seed=7, **NEUTRAL)
    assert parameters == {"details": True, "do_sample": True, "max_new_tokens": 4, "temperature": 1.0, "seed": 7}


async def test_filters_penalties_and_seed_are_handed_over(attached: Attached) -> None:
    parameters = await asked(attached, temperature=0.5, seed=7, logprobs=5, **FILTERS, **PENALTIES)
    expected = {"temperature": 0.5, "seed": 7, "top_n_tokens": 5, **FILTERS, **PENALTIES}
    assert {name: parameters[name] for name in expected} == pytest.approx(expected)


async def test_a_greedy_request_has_no_filters_since_one_makes_a_router_sample(attached: Attached) -> None:
    parameters = await asked(attached, temperature=0, **FILTERS, **PENALTIES)
    assert parameters["do_sample"] is False
    assert not parameters.keys() & {*FILTERS, "temperature", "seed"}
    assert parameters["frequency_penalty"] == -2.0


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("sampling.frequency_penalty", {"frequency_penalty": 2.5}),
        ("sampling.top_k", {"top_k": 2**31}),
        ("logprobs.top", {"logprobs": 6}),
        ("sampling.presence_penalty", {"presence_penalty": 0.5}),
        ("sampling.min_p", {"min_p": 0.1}),
        ("sampling.n", {"n": 2}),
        ("sampling.min_tokens", {"min_tokens": 2}),
        ("sampling.logit_bias", {"logit_bias": {1: 1.0}}),
        ("sampling.ignore_eos", {"ignore_eos": True}),
        ("logprobs.prompt_top", {"prompt_logprobs": 1}),
        ("structured_output.json_object", {"json_object": True}),
        ("structured_output.grammar", {"grammar": 'root ::= "a"'}),
        ("structured_output.regex", {"regex": "(["}),
        ("structured_output.json_schema", {"json_schema": '{"type": "string"}'}),
    ],
)
async def test_what_a_router_cannot_do_is_refused_by_name(attached: Attached, field: str, wanted: Any) -> None:
    before = len(attached.router.bodies(STREAM))
    with pytest.raises(InvalidRequest, match=field.replace(".", r"\.")):
        await attached.served.client.complete(PROMPT, max_tokens=4, **wanted)
    assert len(attached.router.bodies(STREAM)) == before


async def test_token_ids_as_a_prompt_are_refused(attached: Attached) -> None:
    with pytest.raises(InvalidRequest, match="token_ids"):
        await attached.served.client.complete([1, 2], max_tokens=4)


async def test_a_chat_is_rendered_by_the_router_and_generated_by_its_native_route(attached: Attached) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    answer = await attached.served.client.complete(messages=messages, max_tokens=4)
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert attached.router.bodies(STREAM)[-1].json()["inputs"] == text
    assert attached.router.bodies("/chat_tokenize")[-1].json()["messages"] == messages
    assert answer.finished.usage.completion_tokens == 4


async def test_stop_strings_end_the_output_without_being_in_it(attached: Attached) -> None:
    whole = (await attached.served.client.complete(PROMPT, max_tokens=12, temperature=0)).outputs[0].text
    stop = whole.split()[3]
    answer = await attached.served.client.complete(PROMPT, max_tokens=12, temperature=0, stop=[stop])
    assert answer.outputs[0].text == whole[: whole.index(stop)]
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_STOP_STRING


async def test_the_end_token_is_an_end_and_no_text(attached: Attached) -> None:
    attached.router.eos_after = 3
    answer = await attached.served.client.complete(PROMPT, max_tokens=12, temperature=0, logprobs=0)
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_EOS
    assert answer.finished.usage.completion_tokens == len(answer.outputs[0].token_ids) == 3
    assert "im_end" not in answer.outputs[0].text


@pytest.mark.parametrize("limit", [None, 5000])
async def test_the_end_of_the_context_is_told_from_max_tokens(limit: int | None) -> None:
    async with attached_to(ScriptedTgi(max_input_tokens=12, max_total_tokens=16)) as attached:
        given: Any = {} if limit is None else {"max_tokens": limit}
        answer = await attached.served.client.complete(PROMPT, temperature=0, **given)
        assert attached.router.bodies(STREAM)[-1].json()["parameters"]["max_new_tokens"] == 13
        assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_CONTEXT_LENGTH
        exact = await attached.served.client.complete(PROMPT, temperature=0, max_tokens=13)
        assert exact.finished.sequences[0].finish_reason == pb.FINISH_REASON_MAX_TOKENS


async def test_a_prompt_beyond_the_routers_limit_is_refused_with_both_lengths() -> None:
    async with attached_to(ScriptedTgi(max_input_tokens=12, max_total_tokens=16)) as attached:
        with pytest.raises(ContextOverflow) as raised:
            await attached.served.client.complete("one " * 20, max_tokens=1)
        assert raised.value.metadata["prompt_tokens"] == "21"
        assert not attached.router.bodies(STREAM)


async def test_an_adapter_of_the_router_is_used_and_listed(attached: Attached) -> None:
    client = attached.served.client
    base = await client.complete(PROMPT, max_tokens=8, temperature=0)
    tuned = await client.complete(PROMPT, max_tokens=8, temperature=0, adapter="lora-a")
    assert attached.router.bodies(STREAM)[-1].json()["parameters"]["adapter_id"] == "lora-a"
    assert tuned.outputs[0].text != base.outputs[0].text
    assert list((await client.load()).resident_adapters) == ["lora-a", "lora-b"]
    support = (await client.model()).capabilities.adapters
    assert support == discovery_pb2.ADAPTER_SUPPORT_STATIC


async def test_an_unknown_adapter_is_not_found_though_a_router_would_serve_the_base_model(attached: Attached) -> None:
    with pytest.raises(NotFound, match="lora-a"):
        await attached.served.client.complete(PROMPT, max_tokens=8, adapter="lora-c")
    assert not attached.router.bodies(STREAM)


async def test_adapters_that_came_with_the_router_are_neither_registered_nor_unloaded(
    attached: Attached, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match="only when it starts"):
        await attached.served.client.register_adapter("mine", tmp_path.as_uri())
    with pytest.raises(PreconditionFailed, match="stays"):
        await attached.served.client.unload_adapter("lora-a")


async def test_more_requests_than_the_router_takes_are_not_sent(attached: Attached) -> None:
    assert attached.served.model.info.max_running == 128
    async with attached.router.listening() as (http, _):
        model = {"batching": {"max_sequences": 2}}
        async with serving(AttachedTgiBackend, options={"url": http.url}, model=model) as served:
            assert served.model.info.max_running == 2
            assert served.model.info.capabilities.adapters == "none"


async def test_the_load_is_that_of_the_router(attached: Attached) -> None:
    attached.router.hold = 2
    stream = attached.served.client.generate(PROMPT, max_tokens=8)
    await anext(aiter(stream))
    assert (await attached.served.client.load()).engine_running == 1
    await stream.aclose()


async def test_settings_that_belong_to_the_router_are_refused_by_name() -> None:
    model = {"parallelism": {"tensor": 2}, "batching": {"max_batched_tokens": 64}}
    with pytest.raises(ConfigurationError, match=r"parallelism\.tensor, batching\.max_batched_tokens: expected unset"):
        async with serving(AttachedTgiBackend, model=model):
            pass


async def test_a_router_that_is_not_there_or_not_well_is_unavailable() -> None:
    with pytest.raises(EngineUnavailable, match="does not answer"):
        async with serving(AttachedTgiBackend, options={"url": "http://127.0.0.1:9"}):
            pass
    router = scripted()
    router.is_healthy = False
    with pytest.raises(EngineUnavailable, match="not well"):
        async with attached_to(router):
            pass


async def test_the_key_is_sent_and_read_from_its_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    async with attached_to(scripted(), api_key_file=str(key)) as attached:
        await attached.served.client.complete(PROMPT, max_tokens=2)
        assert {asked.headers["authorization"] for asked in attached.router.asked} == {"Bearer secret"}


async def test_forms_reach_the_router_as_it_takes_them(attached: Attached) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    parameters = await asked(attached, json_schema=json.dumps(schema))
    assert parameters["grammar"] == {"type": "json", "value": schema}
    parameters = await asked(attached, choice=["a.b", "c"])
    assert parameters["grammar"] == {"type": "regex", "value": r"(a\.b|c)"}
