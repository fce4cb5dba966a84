import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bellhousing.backend import Backend
from bellhousing.errors import ContextOverflow, EngineUnavailable, InvalidRequest
from bellhousing.events import Delta, SequenceEnd, Started
from bellhousing.requests import Chat, ChatMessage, Prompt
from tests.backends.llamacpp.conftest import CONTEXT, PLACES, Running, Start, becomes_idle, generate, request

pytestmark = pytest.mark.asyncio(loop_scope="session")

FRANCE = "The capital of France is"
LONG = "word " * 440
WRITTEN = st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs", "Cc"], include_characters="\n\t")
"""Characters that the model has tokens for: it lacks some control characters, and a byte of those further up."""
GREETING = Chat((ChatMessage("system", "Be brief."), ChatMessage("user", "What is the capital of France?")))


async def test_the_capital_of_france_is_paris(engine: Running) -> None:
    output = await generate(engine, request(FRANCE, max_tokens=2))
    assert output.text == " Paris."
    assert output.reason == "max_tokens"
    assert output.count == 2


async def test_text_and_its_token_ids_give_the_same_output(engine: Running) -> None:
    ids = tuple(token.id for token in await engine.backend.tokenize(FRANCE, add_special=True))
    assert (await generate(engine, request(ids))).ids == (await generate(engine, request(FRANCE))).ids


async def test_a_chat_is_rendered_by_the_models_own_template(engine: Running) -> None:
    tokens = await engine.backend.tokenize(GREETING, add_special=True)
    rendered = b"".join(token.piece for token in tokens).decode()
    assert rendered == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    output = await generate(engine, request(GREETING, max_tokens=30))
    assert "Paris" in output.text
    assert output.started.prompt_tokens == len(tokens)


async def test_a_chat_that_ends_with_the_assistant_is_closed_and_its_next_turn_opened(engine: Running) -> None:
    messages = (*GREETING.messages, ChatMessage("assistant", "Paris"))
    opened = await engine.backend.tokenize(Chat(messages), add_special=True)
    closed = await engine.backend.tokenize(Chat(messages, add_generation_prompt=False), add_special=True)
    end = "<|im_start|>assistant\nParis<|im_end|>\n"
    assert b"".join(token.piece for token in closed).decode().endswith(end)
    assert b"".join(token.piece for token in opened).decode().endswith(f"{end}<|im_start|>assistant\n")


async def test_usage_tells_prompt_and_cached_tokens(engine: Running) -> None:
    prompt = "Tell me about the history of the Roman empire and its emperors"
    await generate(engine, request(prompt, max_tokens=1))
    output = await generate(engine, request(prompt, max_tokens=1))
    expected = len(await engine.backend.tokenize(prompt, add_special=True))
    assert output.started.prompt_tokens == output.finished.prompt_tokens == expected
    assert output.started.cached_tokens == output.finished.cached_tokens == expected - 1
    assert (output.finished.engine_prefill_seconds or 0) > 0


async def test_without_the_prefix_cache_nothing_is_found_in_it(starting: Start) -> None:
    async with starting(prefix_cache=False, context_per_sequence=256) as running:
        outputs = [await generate(running, request(FRANCE, max_tokens=2)) for _ in range(2)]
    assert not running.info.capabilities.prefix_cache
    assert [output.finished.cached_tokens for output in outputs] == [0, 0]
    assert outputs[0].text == outputs[1].text == " Paris."


async def test_a_seed_repeats_the_output_and_another_changes_it(engine: Running) -> None:
    seeded = [
        (await generate(engine, request("Once upon a time", temperature=1.0, seed=seed))).ids for seed in (7, 7, 8)
    ]
    assert seeded[0] == seeded[1] != seeded[2]


async def test_parallel_requests_get_what_they_get_alone(engine: Running) -> None:
    prompts = [f"The number {number} is" for number in range(PLACES)]
    alone = [(await generate(engine, request(prompt))).ids for prompt in prompts]
    together = await asyncio.gather(*(generate(engine, request(prompt)) for prompt in prompts))
    assert [output.ids for output in together] == alone


async def test_more_requests_than_places_all_finish(engine: Running) -> None:
    outputs = await asyncio.gather(*(generate(engine, request(max_tokens=4)) for _ in range(3 * PLACES)))
    assert {output.text for output in outputs} == {" Paris.\n\n"}


async def test_log_probabilities_are_the_models_own_at_any_temperature(engine: Running) -> None:
    cold = (await generate(engine, request(FRANCE, logprobs=3, max_tokens=1))).logprobs
    filtered = (await generate(engine, request(FRANCE, logprobs=3, max_tokens=1, temperature=1.5, top_k=1))).logprobs
    assert cold == filtered
    (entry,) = cold
    assert entry.token == b" Paris"
    assert entry.id == entry.top[0].id
    assert entry.logprob == entry.top[0].logprob < 0
    assert len(entry.top) == 3
    assert sorted((top.logprob for top in entry.top), reverse=True) == [top.logprob for top in entry.top]


async def test_log_probabilities_without_alternatives_are_one_a_token(engine: Running) -> None:
    output = await generate(engine, request(FRANCE, logprobs=0, max_tokens=5))
    assert [entry.id for entry in output.logprobs] == output.ids
    assert all(entry.top == () for entry in output.logprobs)


async def test_log_probabilities_are_left_out_unless_asked_for(engine: Running) -> None:
    assert (await generate(engine, request(FRANCE))).logprobs == []


async def test_the_end_token_is_neither_delivered_nor_counted(engine: Running) -> None:
    output = await generate(engine, request("Say yes.<|im_end|>", logit_bias={2: 100.0}, max_tokens=5))
    assert output.reason == "eos"
    assert output.deltas == []


async def test_ignore_eos_goes_on_to_the_limit(engine: Running) -> None:
    output = await generate(engine, request("Say yes.", logit_bias={2: 100.0}, ignore_eos=True, max_tokens=5))
    assert (output.reason, output.count) == ("max_tokens", 5)


async def test_logit_bias_makes_a_token_come_or_stay_away(engine: Running) -> None:
    (berlin,) = await engine.backend.tokenize(" Berlin", add_special=False)
    (paris,) = await engine.backend.tokenize(" Paris", add_special=False)
    drawn = await generate(engine, request(FRANCE, logit_bias={berlin.id: 100.0}, max_tokens=1))
    kept_away = await generate(engine, request(FRANCE, logit_bias={paris.id: -100.0}, max_tokens=1))
    assert drawn.ids == [berlin.id]
    assert paris.id not in kept_away.ids


async def test_a_temperature_too_small_for_the_engines_numbers_is_greedy(engine: Running) -> None:
    assert (await generate(engine, request(FRANCE, temperature=1e-40, max_tokens=2))).text == " Paris."


async def test_a_repetition_penalty_reaches_back_over_the_whole_prompt(engine: Running) -> None:
    prompt = "Is it Paris?" + " Let us think." * 30 + f" {FRANCE}"
    plain = await generate(engine, request(prompt, max_tokens=1))
    penalised = await generate(engine, request(prompt, max_tokens=1, repetition_penalty=100.0))
    assert (plain.text, penalised.text != " Paris") == (" Paris", True)


async def test_a_character_of_several_tokens_comes_whole_with_all_its_ids(engine: Running) -> None:
    tokens = await engine.backend.tokenize("😀", add_special=False)
    assert len(tokens) == 3
    bias = {token.id: 100.0 for token in tokens}
    output = await generate(engine, request("Smile: 😀😀😀😀", logit_bias=bias, max_tokens=6))
    assert output.text == "😀😀"
    assert output.ids == [token.id for token in tokens] * 2
    assert [delta.token_count for delta in output.deltas] == [3, 3]


@pytest.mark.parametrize("limit", [4, 5])
async def test_a_character_that_was_cut_off_is_flagged_and_its_tokens_are_counted(engine: Running, limit: int) -> None:
    bias = {token.id: 100.0 for token in await engine.backend.tokenize("😀", add_special=False)}
    output = await generate(engine, request("Smile: 😀😀😀😀", logit_bias=bias, max_tokens=limit))
    assert output.text == "😀"
    assert output.count == limit
    assert output.finished.sequences == (SequenceEnd("max_tokens", cut_character=True),)


async def test_an_output_that_ends_between_characters_is_not_flagged(engine: Running) -> None:
    bias = {token.id: 100.0 for token in await engine.backend.tokenize("😀", add_special=False)}
    output = await generate(engine, request("Smile: 😀😀😀😀", logit_bias=bias, max_tokens=6))
    assert not output.finished.sequences[0].cut_character
    assert engine.info.capabilities.joined_characters


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(WRITTEN, min_size=1, max_size=40))
async def test_any_text_comes_back_from_its_tokens(engine: Running, text: str) -> None:
    tokens = await engine.backend.tokenize(text, add_special=False)
    assert b"".join(token.piece for token in tokens).decode() == text
    assert (await engine.backend.detokenize([token.id for token in tokens])).decode() == text


async def test_detokenize_gives_the_bytes_of_a_part_of_a_character(engine: Running) -> None:
    tokens = await engine.backend.tokenize("é😀", add_special=False)
    parts = [await engine.backend.detokenize([token.id]) for token in tokens]
    assert parts == [token.piece for token in tokens]
    assert parts[1] == b"\xf0\x9f"


async def test_detokenize_refuses_ids_outside_the_vocabulary(engine: Running) -> None:
    with pytest.raises(InvalidRequest, match="below 49152, found 49152"):
        await engine.backend.detokenize([1, 49152])


async def test_prompt_ids_outside_the_vocabulary_are_refused(engine: Running) -> None:
    with pytest.raises(InvalidRequest, match="token_ids"):
        await generate(engine, request((1, 10**6)))


async def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(engine: Running) -> None:
    ids = (100,) * (CONTEXT + 88)
    with pytest.raises(ContextOverflow) as caught:
        await generate(engine, request(ids))
    assert (caught.value.prompt_tokens, caught.value.context_length) == (CONTEXT + 88, CONTEXT)


async def test_a_sequence_ends_where_the_context_does(engine: Running) -> None:
    output = await generate(engine, request((100,) * (CONTEXT - 6), max_tokens=None, ignore_eos=True))
    assert output.reason == "context_length"
    assert output.count <= 7


@pytest.mark.parametrize("prompt", [LONG, "Once upon a time"])
async def test_leaving_early_frees_the_engine(engine: Running, prompt: str) -> None:
    wanted = request(prompt, max_tokens=None, ignore_eos=True, seed=3)
    async with aclosing(engine.backend.generate(wanted)) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, Started if prompt == LONG else Delta):
                break
    await becomes_idle(engine, seconds=5)


async def test_a_request_that_waits_for_a_place_can_be_cancelled(engine: Running) -> None:
    endless = [
        asyncio.create_task(generate(engine, request(max_tokens=None, ignore_eos=True))) for _ in range(PLACES + 1)
    ]
    await asyncio.sleep(0.2)
    for task in reversed(endless):
        task.cancel()
    results = await asyncio.gather(*endless, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await becomes_idle(engine)


async def test_load_tells_how_full_the_cache_is(engine: Running) -> None:
    await becomes_idle(engine)
    wanted = request("Once upon a time", max_tokens=None, ignore_eos=True)
    async with aclosing(engine.backend.generate(wanted)) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, Delta):
                break
        load = await engine.backend.load()
    assert 0 < (load.kv_cache_usage or 0) < 1
    assert (load.prefix_cache_queries or 0) >= (load.prefix_cache_hits or 0)
    await becomes_idle(engine)


async def test_the_model_is_described(engine: Running) -> None:
    info = engine.info
    assert info.engine == "llama.cpp"
    assert info.engine_version.startswith("xllamacpp ")
    assert (info.context_length, info.max_running) == (CONTEXT, PLACES)
    assert (info.precision, info.vocabulary_size, info.eos_token_ids) == ("Q4_1", 49152, (2,))
    assert info.model_digest.startswith("sha256:")
    assert info.tokenizer_digest.startswith("sha256:")
    assert info.model_digest != info.tokenizer_digest
    batching = info.effective.batching
    assert (batching.max_sequences, batching.max_batched_tokens, batching.max_total_tokens) == (4, 64, 2048)
    assert {"batching.max_total_tokens"} == set(info.reasons)


async def test_the_context_may_be_shared_out_by_the_total(starting: Start) -> None:
    async with starting(settings={"batching": {"max_sequences": 2, "max_total_tokens": 1000}}) as running:
        assert running.info.context_length == 256
        assert running.info.effective.batching.max_total_tokens == 512


async def test_stop_ends_what_runs_and_may_be_called_twice(starting: Start) -> None:
    async with starting(context_per_sequence=256) as running:
        endless = asyncio.create_task(generate(running, request(max_tokens=None, ignore_eos=True)))
        await asyncio.sleep(0.3)
        await running.backend.stop()
        await running.backend.stop()
        with pytest.raises(EngineUnavailable):
            await endless


async def test_an_engine_that_answers_is_not_dead(engine: Running) -> None:
    backend = engine.backend
    assert type(backend).died is not Backend.died
    watched = type(backend)(backend.spec, backend.options.model_copy(update={"hang_seconds": 1.0}))
    watched._engines = backend._engines
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watched.died(), 1.5)


async def test_chat_is_refused_where_the_model_has_no_template(engine: Running) -> None:
    backend = type(engine.backend)(engine.backend.spec, engine.backend.options)
    backend._has_template = False
    with pytest.raises(InvalidRequest, match="chat template"):
        await backend.tokenize(GREETING, add_special=True)


async def test_template_arguments_reach_the_template(engine: Running) -> None:
    chat = replace(GREETING, template_arguments={"enable_thinking": False, "nested": {"list": [1]}})
    prompt: Prompt = chat
    assert (await generate(engine, request(prompt, max_tokens=1))).count == 1
