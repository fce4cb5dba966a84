"""What only the real Ollama can show."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bellhousing.errors import ContextOverflow, EngineFault, InvalidRequest
from bellhousing.requests import Chat, ChatMessage, GenerationRequest, StructuredOutput
from bellhousing.testing import Served
from bellhousing.testing.probe import Probe
from bellhousing_ollama import OllamaBackend
from bellhousing_ollama.chat_template import divergence
from tests.backends.ollama.conftest import CONTEXT, FRANCE, SEQUENCES
from tests.backends.ollama.processes import runner_pids

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
THIRTY_EQUAL = StructuredOutput("json_schema", '{"type": "string", "pattern": "^(7){60}$"}')


async def test_the_model_knows_the_capital_of_france(probe: Probe) -> None:
    assert (await probe.run(probe.request(FRANCE, max_tokens=3))).text().startswith(b" Paris")


async def test_the_end_of_turn_is_told_as_eos_and_not_counted(probe: Probe) -> None:
    chat = Chat((ChatMessage("user", "Reply with one word: what colour is the sky?"),))
    output = await probe.run(replace(probe.request(chat, max_tokens=128), logprobs=0))
    assert output.reason() == "eos"
    assert output.tokens() == sum(len(delta.logprobs) for delta in output.deltas)


async def test_a_prompt_beyond_the_context_is_refused_with_both_lengths(probe: Probe) -> None:
    with pytest.raises(ContextOverflow) as caught:
        await probe.run(probe.request("word " * 2 * CONTEXT))
    assert caught.value.context_length == CONTEXT
    assert caught.value.prompt_tokens > CONTEXT


async def test_without_a_limit_output_ends_where_the_context_does(probe: Probe) -> None:
    request = probe.request("word " * (CONTEXT - 12))
    output = await probe.run(request)
    assert output.reason() in {"context_length", "eos"}
    assert (output.finished.prompt_tokens or 0) + output.tokens() <= CONTEXT


async def test_tokens_of_cut_characters_are_counted(probe: Probe) -> None:
    output = await probe.run(probe.request("Emoji faces: 😀 😃 😄", max_tokens=12))
    assert output.tokens() == 12
    output.text().decode()


async def test_more_than_thirty_equal_tokens_are_a_fault_and_no_end(probe: Probe) -> None:
    request = replace(probe.request("777", max_tokens=80), structured_output=THIRTY_EQUAL)
    with pytest.raises(EngineFault) as caught:
        await probe.run(request)
    assert caught.value.reason == "ENGINE_STREAM_BROKEN"


async def test_a_schema_that_the_engine_does_not_know_is_the_requests_fault(probe: Probe) -> None:
    request = replace(probe.request(), structured_output=StructuredOutput("json_schema", '{"$ref": "#/$defs/none"}'))
    with pytest.raises(InvalidRequest, match=r"structured_output\.json_schema: .*resolving ref"):
        await probe.run(request)


async def test_closing_a_generation_frees_its_slot(probe: Probe) -> None:
    for _ in range(SEQUENCES):
        await probe.run_until_first_delta(probe.request())
    async with asyncio.timeout(60):
        outputs = await asyncio.gather(*(probe.run(probe.request(max_tokens=2)) for _ in range(SEQUENCES)))
    assert all(output.deltas for output in outputs)


async def test_no_request_loads_the_model_anew(served: Served, probe: Probe) -> None:
    before = await runners(served)
    chat = Chat((ChatMessage("user", "Hi"),))
    requests: list[GenerationRequest] = [
        probe.request(max_tokens=1),
        probe.request(chat, max_tokens=2, temperature=1.0),
        replace(probe.request(max_tokens=2), logprobs=1),
        replace(probe.request(max_tokens=8), structured_output=StructuredOutput("json_object")),
    ]
    for request in requests:
        await probe.run(request)
    assert await runners(served) == before


async def test_a_chat_is_rendered_as_the_files_own_template_says(served: Served, probe: Probe) -> None:
    assert "chat_template" not in probe.info.reasons


async def test_a_chat_that_ollama_renders_otherwise_is_told(served: Served) -> None:
    backend = ollama_of(served)
    found = await divergence(backend._connected(), backend._model, "{{ messages[0].content }}", eos="")
    assert found.startswith("Ollama renders a chat unlike the file's own template: from character 0 on")


async def test_discovery_tells_the_settings_and_the_engine(served: Served) -> None:
    model = (await served.client.models())[0]
    settings = {setting.name: setting.effective for setting in model.settings}
    assert settings["batching.max_sequences"] == str(SEQUENCES)
    assert settings["batching.max_total_tokens"] == str(SEQUENCES * CONTEXT)


async def test_prefix_cache_figures_grow(probe: Probe) -> None:
    before = await probe.backend.load()
    for _ in range(2):
        await probe.run(probe.request("A prompt that comes twice, word for word.", max_tokens=1))
    after = await probe.backend.load()
    assert (after.prefix_cache_queries or 0) > (before.prefix_cache_queries or 0)
    assert (after.prefix_cache_hits or 0) > (before.prefix_cache_hits or 0)


async def test_sleep_ends_the_runner_and_wake_starts_another(served: Served, probe: Probe) -> None:
    await probe.backend.sleep(1)
    assert await runners(served) == []
    await probe.backend.wake()
    assert len(await runners(served)) == 1


def ollama_of(served: Served) -> OllamaBackend:
    backend: Any = served.model.backend
    assert isinstance(backend, OllamaBackend)
    return backend


async def runners(served: Served) -> list[int]:
    """Return the ids of the runners' processes."""
    serve = ollama_of(served)._serve
    assert serve
    assert serve.pid
    return runner_pids(serve.pid)
