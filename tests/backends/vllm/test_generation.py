"""Every field of the contract on the real engine, through a real server."""

import asyncio
import math
from dataclasses import replace

import pytest

from bellhousing.errors import ContextOverflow, InvalidRequest
from bellhousing.testing import Served
from bellhousing.testing.probe import Probe
from bellhousing.v1 import inference_pb2 as pb
from tests.backends.vllm.conftest import CONTEXT, FRANCE, MOST_IN_A_STEP, PROMPT

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

CHAT = [{"role": "user", "content": "What is the capital of France?"}]
EOS = 2


async def test_the_capital_of_france_is_paris(served: Served) -> None:
    answer = await served.client.complete(FRANCE, max_tokens=2, temperature=0)
    assert answer.outputs[0].text == " Paris."
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_MAX_TOKENS
    assert answer.finished.usage.completion_tokens == 2


async def test_text_and_its_token_ids_give_the_same_output(served: Served) -> None:
    ids = (await served.client.tokenize(FRANCE)).token_ids
    answers = [await served.client.complete(prompt, max_tokens=12, temperature=0) for prompt in (FRANCE, ids)]
    assert answers[0].outputs[0].text == answers[1].outputs[0].text


async def test_a_chat_is_rendered_by_the_models_own_template_and_ends_by_itself(served: Served) -> None:
    answer = await served.client.complete(messages=CHAT, max_tokens=60, temperature=0)
    assert "Paris" in answer.outputs[0].text
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_EOS
    assert "<|im_end|>" not in answer.outputs[0].text


async def test_the_prompt_and_its_cached_part_are_counted(served: Served) -> None:
    prompt = "Tell me about the history of the Roman empire, its emperors, roads, wars, laws and poets. " * 20
    # Whole blocks of the KV cache only are shared, of 128 tokens on a CPU.
    counts = [(await served.client.complete(prompt, max_tokens=1)).finished.usage for _ in range(2)]
    expected = len((await served.client.tokenize(prompt)).token_ids)
    assert [usage.prompt_tokens for usage in counts] == [expected, expected]
    assert counts[0].cached_tokens < counts[1].cached_tokens < expected


async def test_a_seed_repeats_its_draws_and_another_seed_draws_others(served: Served) -> None:
    texts = [
        (await served.client.complete("Once upon a time", max_tokens=16, temperature=1, seed=seed)).outputs[0].text
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_a_seed_draws_the_same_whether_its_prompt_was_prefilled_in_parts_or_not(served: Served) -> None:
    prompt = "The committee met at noon to discuss the harbour, the winter and the price of salt. " * 25
    answers = [await served.client.complete(prompt, max_tokens=16, temperature=1, seed=11) for _ in range(2)]
    in_parts, at_once = (answer.finished.usage for answer in answers)
    assert in_parts.prompt_tokens - in_parts.cached_tokens > MOST_IN_A_STEP
    assert at_once.prompt_tokens - at_once.cached_tokens <= MOST_IN_A_STEP  # what the first left in the prefix cache
    assert answers[0].outputs[0].text == answers[1].outputs[0].text


async def test_many_seeded_sequences_do_not_fit_into_a_step_and_all_end_well(served: Served) -> None:
    prompt = "A compiler reads a program and writes another one. The first step is to cut the text into tokens, and"
    answers = [
        await served.client.complete(
            f"{number}. {prompt}", n=16, seed=number, max_tokens=4, temperature=1, ignore_eos=True
        )
        for number in range(3)
    ]
    assert [len(answer.outputs) for answer in answers] == [16, 16, 16]
    assert {output.token_count for answer in answers for output in answer.outputs} == {4}


async def test_several_sequences_are_drawn_apart(served: Served) -> None:
    answer = await served.client.complete("Once upon a time", max_tokens=12, temperature=1.0, n=4, seed=3)
    assert [output.index for output in answer.outputs] == [0, 1, 2, 3]
    assert len({output.text for output in answer.outputs}) > 1
    assert answer.finished.usage.completion_tokens == 48


async def test_a_bias_of_100_forces_a_token_and_min_tokens_hold_off_the_end(served: Served) -> None:
    forced = (await served.client.tokenize(" blue")).token_ids[0]
    biased = await served.client.complete(FRANCE, max_tokens=3, temperature=0, logit_bias={forced: 100})
    assert biased.outputs[0].text == " blue blue blue"
    held = await served.client.complete(FRANCE, max_tokens=20, min_tokens=10, temperature=0, logit_bias={EOS: 100})
    assert held.finished.usage.completion_tokens == 10
    assert held.finished.sequences[0].finish_reason == pb.FINISH_REASON_EOS


async def test_ignore_eos_goes_on_to_the_limit(served: Served) -> None:
    answer = await served.client.complete(messages=CHAT, max_tokens=80, temperature=0, ignore_eos=True)
    assert answer.finished.usage.completion_tokens == 80
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_MAX_TOKENS


@pytest.mark.parametrize(
    ("field", "value"),
    [("top_k", 1), ("top_p", 0.000001), ("min_p", 1.0)],
)
async def test_a_filter_that_leaves_one_token_is_as_good_as_greedy(served: Served, field: str, value: float) -> None:
    greedy = await served.client.complete(FRANCE, max_tokens=12, temperature=0)
    filtered = await served.client.complete(FRANCE, max_tokens=12, temperature=1.5, seed=1, **{field: value})  # type: ignore[arg-type]
    assert filtered.outputs[0].text == greedy.outputs[0].text


async def test_penalties_end_repetition(served: Served) -> None:
    plain = await served.client.complete(PROMPT, max_tokens=8, temperature=0)
    assert plain.outputs[0].text.endswith(" ten ten ten")
    penalties: list[dict[str, float]] = [{"repetition_penalty": 2.0}, {"frequency_penalty": 2.0, "presence_penalty": 2}]
    for penalty in penalties:
        other = await served.client.complete(PROMPT, max_tokens=8, temperature=0, **penalty)  # type: ignore[arg-type]
        assert " ten ten" not in other.outputs[0].text, penalty


async def test_a_stop_string_and_a_stop_token_are_named_and_left_out(served: Served) -> None:
    plain = await served.client.complete(FRANCE, max_tokens=12, temperature=0)
    text = await served.client.complete(FRANCE, max_tokens=12, temperature=0, stop=["."])
    assert text.outputs[0].text == plain.outputs[0].text.partition(".")[0]
    assert text.finished.sequences[0].stop_string == "."
    full_stop = (await served.client.tokenize(".")).token_ids[0]
    token = await served.client.complete(FRANCE, max_tokens=12, temperature=0, stop_token_ids=[full_stop])
    assert token.outputs[0].text == text.outputs[0].text
    assert token.finished.sequences[0].stop_token_id == full_stop


async def test_log_probabilities_are_those_of_the_whole_vocabulary(served: Served) -> None:
    answer = await served.client.complete(FRANCE, max_tokens=3, temperature=0, logprobs=5, prompt_logprobs=2)
    entries = answer.outputs[0].logprobs
    assert len(entries) == 3
    assert [entry.top[0].id for entry in entries] == [entry.id for entry in entries]
    assert all(len(entry.top) == 5 for entry in entries)
    assert all(0 < sum(math.exp(top.logprob) for top in entry.top) <= 1.000001 for entry in entries)
    prompt_entries = answer.outputs[0].prompt_logprobs
    assert b"".join(entry.token for entry in prompt_entries).decode() == FRANCE.removeprefix("The")


async def test_more_alternatives_than_the_model_allows_are_refused(served: Served) -> None:
    with pytest.raises(InvalidRequest, match=r"logprobs\.top: must be at most 20, found 21"):
        await served.client.complete(FRANCE, max_tokens=1, logprobs=21)


async def test_a_temperature_that_vllm_would_change_is_refused(served: Served) -> None:
    with pytest.raises(InvalidRequest, match=r"sampling\.temperature: must be 0 or at least 0\.01, found 0\.001"):
        await served.client.complete(FRANCE, max_tokens=1, temperature=0.001)


async def test_a_prompt_that_fills_the_context_is_refused_and_output_ends_at_it(served: Served) -> None:
    with pytest.raises(ContextOverflow) as refused:
        await served.client.complete([100] * CONTEXT, max_tokens=1)
    assert refused.value.metadata["context_length"] == str(CONTEXT)
    answer = await served.client.complete([100] * (CONTEXT - 5), temperature=0, ignore_eos=True)
    assert answer.finished.usage.completion_tokens == 5
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_CONTEXT_LENGTH


async def test_ids_outside_the_vocabulary_are_refused(served: Served) -> None:
    with pytest.raises(InvalidRequest, match="token_ids: must be token ids below 49152, found 99999999"):
        await served.client.complete([99999999], max_tokens=1)


async def test_high_priority_goes_first(probe: Probe, served: Served) -> None:
    """More requests than places, straight at the engine: those of high priority, sent last, end before the low ones."""
    places = probe.info.max_running
    ended: list[str] = []

    async def run(name: str, priority: str, tokens: int) -> None:
        request = probe.request(max_tokens=tokens, ignore_eos=True)
        await probe.run(replace(request, id=name, priority=priority))  # type: ignore[arg-type]
        ended.append(priority)

    running = [asyncio.create_task(run(f"n{i}", "normal", 60)) for i in range(places)]
    await asyncio.sleep(0.3)
    waiting = [asyncio.create_task(run(f"l{i}", "low", 4)) for i in range(places)]
    waiting += [asyncio.create_task(run(f"h{i}", "high", 4)) for i in range(places)]
    await asyncio.gather(*running, *waiting)
    order = [priority for priority in ended if priority != "normal"]
    assert order.index("low") >= places - 2, order
    assert order[:2] == ["high", "high"]


async def test_cancelling_200_of_400_returns_the_kv_cache_to_its_baseline(served: Served) -> None:
    async def kv_usage() -> float:
        return (await served.client.load()).kv_cache_usage

    async def read(number: int) -> int:
        stream = served.client.generate(f"Story {number}:", max_tokens=12, ignore_eos=True, temperature=1, seed=number)
        async with stream:
            async for _ in stream:
                if number % 2:
                    return 0
        assert stream.finished is not None
        return int(stream.finished.usage.completion_tokens)

    before = await kv_usage()
    tokens = await asyncio.gather(*(read(number) for number in range(400)))
    assert sum(tokens) == 200 * 12
    async with asyncio.timeout(20):
        while await kv_usage() > before:
            await asyncio.sleep(0.1)
    load = await served.client.load()
    assert (load.running, load.queued) == (0, 0)
