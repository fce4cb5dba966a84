"""The attached backend over a scripted Ollama: what is sent, and what each kind of failure becomes."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bellhousing.errors import BellhousingError, ConfigurationError, EngineFault, EngineUnavailable, InvalidRequest
from bellhousing.events import Delta
from bellhousing.requests import Chat, ChatMessage, StructuredOutput
from bellhousing.settings import ModelSpec
from bellhousing_ollama import AttachedOllamaBackend, AttachedOptions
from tests.backends.ollama.conftest import attached
from tests.engines.faults import bad_frame, comments, cut, cut_characters, html, instead, joined, no_end, slow_bytes
from tests.engines.ollama import ScriptedOllama, error_frame
from tests.engines.server import as_json

GENERATE = "/api/generate"


def last_body(engine: ScriptedOllama, path: str = GENERATE) -> dict[str, Any]:
    return dict(engine.bodies(path)[-1].json())


async def test_nothing_may_be_cut_or_shifted_and_text_is_raw() -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        await probe.run(probe.request(max_tokens=3))
    body = last_body(engine)
    assert (body["raw"], body["truncate"], body["shift"], body["stream"]) == (True, False, False, True)


async def test_no_stop_string_is_sent_and_those_of_the_model_file_are_overruled() -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        await probe.run(probe.request(max_tokens=3))
    assert last_body(engine)["options"]["stop"] == []


@pytest.mark.parametrize("limit", [None, 1, 7, 2**31 - 1])
async def test_the_number_of_tokens_is_never_zero_nor_without_limit(limit: int | None) -> None:
    engine = ScriptedOllama(context_length=512)
    engine.eos_after = 1
    async with attached(engine) as probe:
        await probe.run(probe.request(max_tokens=limit))
    assert last_body(engine)["options"]["num_predict"] == min(limit or 512, 512)


async def test_every_sampling_option_is_sent_so_that_no_default_of_ollama_is_in_force() -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        await probe.run(probe.request(max_tokens=3, temperature=0.5, seed=9))
    assert last_body(engine)["options"] == {
        "num_predict": 3,
        "temperature": 0.5,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "repeat_last_n": 4096,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": 9,
        "stop": [],
    }


async def test_what_reloads_the_model_is_equal_in_every_request() -> None:
    engine = ScriptedOllama()
    async with attached(engine, context_per_sequence=2048) as probe:
        await probe.run(probe.request(max_tokens=1))
        await probe.run(probe.request(max_tokens=2, temperature=1.0))
    assert {asked.json()["options"]["num_ctx"] for asked in engine.bodies(GENERATE)} == {2048}


async def test_a_chat_goes_as_messages() -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        chat = Chat((ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")))
        assert (await probe.run(probe.request(chat, max_tokens=2))).text()
    assert last_body(engine, "/api/chat")["messages"] == [message.for_template() for message in chat.messages]


@pytest.mark.parametrize(
    "chat",
    [
        Chat(()),
        Chat((ChatMessage("user", "Hi"),), add_generation_prompt=False),
        Chat((ChatMessage("user", "Hi", name="Ann"),)),
    ],
)
async def test_a_chat_that_ollama_cannot_render_as_asked_is_refused(chat: Chat) -> None:
    async with attached(ScriptedOllama()) as probe:
        with pytest.raises(InvalidRequest):
            await probe.run(probe.request(chat))


async def test_an_empty_prompt_is_refused_since_it_would_only_load() -> None:
    async with attached(ScriptedOllama()) as probe:
        with pytest.raises(InvalidRequest, match="at least one token"):
            await probe.run(probe.request(""))


@pytest.mark.parametrize("schema", ["{", "[]", "{}", '"json"'])
async def test_a_schema_that_is_no_object_with_keywords_is_refused(schema: str) -> None:
    async with attached(ScriptedOllama()) as probe:
        request = replace(probe.request(), structured_output=StructuredOutput("json_schema", schema))
        with pytest.raises(InvalidRequest, match="json_schema"):
            await probe.run(request)


async def test_the_end_token_is_not_counted() -> None:
    engine = ScriptedOllama()
    engine.eos_after = 4
    async with attached(engine) as probe:
        output = await probe.run(probe.request(max_tokens=50))
    assert (output.tokens(), output.reason()) == (4, "eos")


async def test_a_limit_of_tokens_and_a_full_context_are_told_apart() -> None:
    engine = ScriptedOllama(context_length=256)
    async with attached(engine) as probe:
        assert (await probe.run(probe.request(max_tokens=5))).reason() == "max_tokens"
        assert (await probe.run(probe.request())).tokens() == 256


async def test_seeds_decide_the_draws() -> None:
    async with attached(ScriptedOllama()) as probe:
        first, again, other = [
            (await probe.run(probe.request(max_tokens=9, temperature=1.0, seed=seed))).text() for seed in (1, 1, 2)
        ]
    assert first == again != other


@pytest.mark.parametrize("change", [joined(), slow_bytes(0), cut_characters()], ids=["joined", "bytes", "characters"])
async def test_lines_are_whole_however_they_are_cut_on_the_way(change: Any) -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        expected = (await probe.run(probe.request(max_tokens=12))).text()
        engine.fault(GENERATE, change)
        assert (await probe.run(probe.request(max_tokens=12))).text() == expected


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (cut(2), EngineUnavailable, "ENGINE_UNAVAILABLE"),
        (no_end(2), EngineFault, "ENGINE_STREAM_BROKEN"),
        (bad_frame(2, error_frame("unexpected EOF")), EngineUnavailable, "RUNNER_DIED"),
        (bad_frame(2, error_frame("something else")), EngineFault, "ENGINE_FAULT"),
        (bad_frame(2, b"no JSON\n"), EngineFault, "ENGINE_PROTOCOL"),
        (bad_frame(0, b'{"thinking":"hm","done":false}\n'), EngineFault, "ENGINE_PROTOCOL"),
        (bad_frame(0, b'{"done":true,"done_reason":"load"}\n'), EngineFault, "ENGINE_PROTOCOL"),
        (html(502), EngineUnavailable, "ENGINE_UNAVAILABLE"),
        (html(200), EngineFault, "ENGINE_PROTOCOL"),
        (comments(b": still here\n"), EngineFault, "ENGINE_PROTOCOL"),
        (instead(as_json({"error": "model 'x' not found"}, status=404)), BellhousingError, "MODEL_NOT_FOUND"),
    ],
)
async def test_what_goes_wrong_is_an_error_and_never_an_end(
    fault: Any, kind: type[BellhousingError], reason: str
) -> None:
    engine = ScriptedOllama()
    async with attached(engine) as probe:
        engine.fault(GENERATE, fault)
        with pytest.raises(kind) as caught:
            await probe.run(probe.request(max_tokens=9))
        assert caught.value.reason == reason
        assert (await probe.run(probe.request(max_tokens=2))).deltas, "the next request should run"


async def test_closing_early_leaves_the_engine() -> None:
    engine = ScriptedOllama()
    engine.hold = 3
    async with attached(engine) as probe:
        await probe.run_until_first_delta(probe.request(max_tokens=50))
        async with asyncio.timeout(5):
            while not engine.left:
                await asyncio.sleep(0.01)
    assert engine.running == 0


async def test_log_probabilities_are_as_many_as_asked_for() -> None:
    async with attached(ScriptedOllama()) as probe:
        output = await probe.run(replace(probe.request(max_tokens=6), logprobs=2))
        none = await probe.run(replace(probe.request(max_tokens=6), logprobs=0))
    assert all(len(entry.top) == 2 for delta in output.deltas for entry in delta.logprobs)
    assert [entry.top for delta in none.deltas for entry in delta.logprobs][:1] == [()]
    assert not any(isinstance(delta, Delta) and delta.token_ids for delta in output.deltas)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"served_model": "absent"}, "expected one of scripted:latest, found 'absent:latest'"),
        ({"settings": {"parallelism": {"tensor": 2}}}, "parallelism.tensor: expected unset"),
        ({"settings": {"batching": {"max_batched_tokens": 8}}}, "batching.max_batched_tokens: expected unset"),
    ],
)
async def test_what_cannot_be_attached_is_refused_at_the_start(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        async with attached(ScriptedOllama(), **changes):
            pass


async def test_of_several_models_one_must_be_named() -> None:
    engine = ScriptedOllama(models=("a:latest", "b:latest"))
    with pytest.raises(ConfigurationError, match="expected one of a:latest, b:latest, found ''"):
        async with attached(engine):
            pass
    async with attached(engine, served_model="b") as probe:
        await probe.run(probe.request(max_tokens=1))
    assert last_body(engine)["model"] == "b:latest"


@pytest.mark.parametrize("version", ["0.33.9", "0.0.0", ""])
async def test_an_older_version_is_refused(version: str) -> None:
    engine = ScriptedOllama()
    engine.fault("/api/version", instead(as_json({"version": version})))
    with pytest.raises(ConfigurationError, match=r"expected Ollama 0.34 or later"):
        async with attached(engine):
            pass


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    backend = AttachedOllamaBackend(ModelSpec(name="m"), AttachedOptions(url="http://127.0.0.1:9"))
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await backend.start(lambda _: None)
    await backend.stop()


def test_another_host_is_refused_in_plain_text() -> None:
    with pytest.raises(ValueError, match="expected https"):
        AttachedOptions(url="http://example.org:11434")
