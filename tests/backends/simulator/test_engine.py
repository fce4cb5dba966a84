"""Requests: what ends them, several sequences, log probabilities, and that nothing is left behind."""

import asyncio
import math
from contextlib import aclosing

import pytest

from bellhousing.errors import ContextOverflow, InvalidRequest, NotFound
from bellhousing.events import Delta, TokenLogprob
from bellhousing.requests import Chat, ChatMessage, Sampling
from bellhousing_simulator.vocabulary import EOS, VOCABULARY_SIZE, render, symbol, tokenise
from tests.backends.simulator.conftest import Simulate, generate, request


async def test_max_tokens_ends_the_output_exactly(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0)
    for count in (1, 2, 17, 64):
        output = await generate(backend, request("a", Sampling(seed=1, max_tokens=count)))
        assert (len(output.ids()), output.reasons()) == (count, ["max_tokens"])


async def test_the_end_token_ends_the_output_and_is_not_delivered(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.2)
    output = await generate(backend, request("a", Sampling(seed=1)))
    assert output.reasons() == ["eos"]
    assert EOS not in output.ids()
    assert [delta.token_count for delta in output.deltas] == [1] * len(output.ids())


async def test_an_output_can_be_empty(simulate: Simulate) -> None:
    backend = await simulate()
    output = await generate(backend, request("a", Sampling(seed=1, logit_bias={EOS: 100.0})))
    assert (output.deltas, output.reasons()) == ([], ["eos"])


async def test_the_end_token_waits_for_min_tokens(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.9)
    lengths = []
    for seed in range(50):
        output = await generate(backend, request("a", Sampling(seed=seed, min_tokens=10)))
        lengths.append(len(output.ids()))
    assert min(lengths) == 10
    assert sum(lengths) / len(lengths) < 11


async def test_the_end_token_is_never_drawn_when_it_is_ignored(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.9)
    output = await generate(backend, request("a", Sampling(seed=1, max_tokens=200, ignore_eos=True)))
    assert (len(output.ids()), output.reasons()) == (200, ["max_tokens"])


@pytest.mark.parametrize("most", [None, 100])
async def test_the_context_length_ends_the_output(simulate: Simulate, most: int | None) -> None:
    backend = await simulate(end_probability=0.0, context_length=16)
    output = await generate(backend, request("abcd", Sampling(seed=1, max_tokens=most)))
    assert (len(output.ids()), output.reasons()) == (12, ["context_length"])


async def test_max_tokens_that_just_fit_are_max_tokens(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0, context_length=16)
    output = await generate(backend, request("abcd", Sampling(seed=1, max_tokens=12)))
    assert (len(output.ids()), output.reasons()) == (12, ["max_tokens"])


@pytest.mark.parametrize("length", [16, 40])
async def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(simulate: Simulate, length: int) -> None:
    backend = await simulate(context_length=16)
    with pytest.raises(ContextOverflow) as refused:
        await generate(backend, request("a" * length))
    error = refused.value
    assert (error.prompt_tokens, error.context_length, error.backend) == (length, 16, "simulator")
    assert backend.counters.started == 0


async def test_text_ids_and_their_text_are_one_prompt(simulate: Simulate) -> None:
    backend = await simulate()
    first = await generate(backend, request("hello é"))
    assert await generate(backend, request(tokenise("hello é"))) == first
    assert first.started.prompt_tokens == first.finished.prompt_tokens == 7 + 1
    assert first.started.cached_tokens == 0


async def test_a_chat_is_its_rendered_text(simulate: Simulate) -> None:
    backend = await simulate()
    chat = Chat((ChatMessage("user", "hi"),))
    assert await generate(backend, request(chat)) == await generate(backend, request(render(chat)))


async def test_unknown_ids_are_refused(simulate: Simulate) -> None:
    with pytest.raises(InvalidRequest, match="found 321"):
        await generate(await simulate(), request((1, 321)))


async def test_several_sequences_are_interleaved_and_each_has_its_own_end(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.05)
    output = await generate(backend, request("a", Sampling(seed=2, n=4, max_tokens=30)))
    assert [delta.index for delta in output.deltas[:4]] == [0, 1, 2, 3]
    assert len({tuple(output.ids(index)) for index in range(4)}) == 4
    assert [end.index for end in output.finished.sequences] == [0, 1, 2, 3]
    assert set(output.reasons()) == {"eos", "max_tokens"}


async def test_log_probabilities_are_the_model_s_own_whatever_the_sampling(simulate: Simulate) -> None:
    backend = await simulate()
    sampling = Sampling(seed=1, max_tokens=60, ignore_eos=True, temperature=1.7, top_k=40, repetition_penalty=1.2)
    output = await generate(backend, request("ab", sampling, logprobs=3))
    previous = symbol("b")
    for token, entry in zip(output.ids(), entries(output.deltas), strict=True):
        assert entry == backend.chain().token_logprob(previous, token, 3)
        assert entry.logprob == backend.chain().logprobs(previous)[token]
        previous = token


async def test_log_probabilities_are_sorted_ranked_and_sum_to_one(simulate: Simulate) -> None:
    output = await generate(await simulate(), request("ab", Sampling(seed=1, max_tokens=20), logprobs=VOCABULARY_SIZE))
    for entry in entries(output.deltas):
        values = [top.logprob for top in entry.top]
        assert values == sorted(values, reverse=True)
        assert math.fsum(map(math.exp, values)) == pytest.approx(1)
        assert entry.top[(entry.rank or 0) - 1].id == entry.id


@pytest.mark.parametrize("top", [0, 5])
async def test_asking_for_log_probabilities_changes_nothing_else(simulate: Simulate, top: int) -> None:
    backend = await simulate()
    sampling = Sampling(seed=5, max_tokens=40)
    plain = await generate(backend, request("a", sampling))
    asked = await generate(backend, request("a", sampling, logprobs=top, prompt_logprobs=top))
    assert asked.ids() == plain.ids()
    assert [len(entry.top) for entry in entries(asked.deltas)] == [top] * len(plain.ids())
    assert entries(plain.deltas) == []


async def test_prompt_log_probabilities_come_once_with_the_first_delta(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0)
    output = await generate(backend, request("aZ", Sampling(seed=1, max_tokens=5, n=2), prompt_logprobs=2))
    first, *others = [delta.prompt_logprobs for delta in output.deltas]
    chain, (a, z) = backend.chain(), tokenise("aZ")
    assert first == (chain.token_logprob(None, a, 2), chain.token_logprob(a, z, 2))
    assert others == [()] * 9


async def test_prompt_log_probabilities_come_even_without_output(simulate: Simulate) -> None:
    sampling = Sampling(seed=1, logit_bias={EOS: 100.0})
    output = await generate(await simulate(), request("abc", sampling, prompt_logprobs=0))
    (delta,) = output.deltas
    assert (delta.text, delta.token_count, len(delta.prompt_logprobs)) == ("", 0, 3)


async def test_an_adapter_is_applied_where_it_is_named(simulate: Simulate) -> None:
    backend = await simulate()
    with pytest.raises(NotFound) as refused:
        await generate(backend, request("a", adapter="poet"))
    assert refused.value.kind == "adapter"


async def test_everything_is_given_back_when_a_request_ends(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0)
    await generate(backend, request("abc", Sampling(seed=1, max_tokens=5, n=2)))
    counters = backend.counters
    assert (counters.started, counters.closed, counters.tokens_generated) == (1, 1, 10)
    assert (counters.active_sequences, counters.active_tokens) == (0, 0)


async def test_everything_is_given_back_when_the_reader_leaves(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0, context_length=100)
    async with aclosing(backend.generate(request("abc", Sampling(seed=1, n=2)))) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, Delta):
                break
        assert (backend.counters.active_sequences, backend.counters.active_tokens) == (2, 5)
        assert (await backend.load()).kv_cache_usage == 5 / (100 * 256)
    assert (backend.counters.active_sequences, backend.counters.active_tokens) == (0, 0)
    assert backend.counters.closed == 1


@pytest.mark.parametrize("latency", ["first_token_seconds", "inter_token_seconds"])
async def test_everything_is_given_back_when_a_wait_is_cancelled(simulate: Simulate, latency: str) -> None:
    backend = await simulate(end_probability=0.0, **{latency: 60.0})
    task = asyncio.create_task(generate(backend, request("abc")))
    while not backend.counters.active_sequences:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (backend.counters.active_sequences, backend.counters.active_tokens) == (0, 0)


def entries(deltas: list[Delta]) -> list[TokenLogprob]:
    return [entry for delta in deltas for entry in delta.logprobs]
