"""Drawing tokens: the output follows `Chain.probabilities`."""

import asyncio
import math
from collections import Counter
from itertools import pairwise

import pytest

from bellhousing.requests import Sampling
from bellhousing_simulator import SimulatorBackend
from bellhousing_simulator.chain import FLAT, PEAK, PEAKED, Chain
from bellhousing_simulator.filters import Vector
from bellhousing_simulator.sampler import TABLE_LIMIT, Sampler, Table
from bellhousing_simulator.vocabulary import EOS, detokenise, symbol
from tests.backends.simulator.conftest import Simulate, generate, request

DRAWS = 5_000
SEQUENCES = 125

SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=1.3),
    Sampling(top_k=12),
    Sampling(top_p=0.8),
    Sampling(min_p=0.2),
    Sampling(typical_p=0.7),
    Sampling(temperature=1.5, top_k=30, top_p=0.9, logit_bias={symbol("x"): 3.0}),
    Sampling(repetition_penalty=1.8),
    Sampling(ignore_eos=True),
]


def g_statistic(counts: Counter[int], expected: Vector) -> tuple[float, int]:
    """Return the G statistic of the counts and its degrees of freedom; bins below 5 expected draws are one bin."""
    draws = counts.total()
    bins = [(counts[token], draws * p) for token, p in enumerate(expected) if draws * p >= 5]
    rest = (draws - sum(n for n, _ in bins), draws - sum(mean for _, mean in bins))
    bins += [rest] if rest[1] >= 5 else []
    return 2 * math.fsum(n * math.log(n / mean) for n, mean in bins if n), len(bins) - 1


def is_fit(counts: Counter[int], expected: Vector) -> bool:
    """Tell whether the counts may come from the distribution: 4 sigma, about 1 wrong answer in 10,000."""
    statistic, freedom = g_statistic(counts, expected)
    return statistic < freedom + 4 * math.sqrt(2 * freedom) + 4


async def first_tokens(backend: SimulatorBackend, prompt: tuple[int, ...], sampling: Sampling) -> Counter[int]:
    """Return how often each token came first."""
    counts: Counter[int] = Counter()
    for seed in range(DRAWS // SEQUENCES):
        fields = {name: getattr(sampling, name) for name in sampling.__slots__} | {"seed": seed, "n": SEQUENCES}
        output = await generate(backend, request(prompt, Sampling(**fields | {"max_tokens": 1})))
        for index in range(SEQUENCES):
            counts[next(iter(output.ids(index)), EOS)] += 1
    return counts


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
async def test_five_thousand_draws_fit_the_exact_probabilities(simulate: Simulate, sampling: Sampling) -> None:
    backend = await simulate(end_probability=0.05)
    prompt = (symbol("b"), symbol("a"))
    counts = await first_tokens(backend, prompt, sampling)
    expected = backend.chain().probabilities(prompt[-1], sampling, prompt=prompt)
    assert all(expected[token] > 0 for token in counts)
    assert is_fit(counts, expected)


@pytest.mark.parametrize("row", [FLAT, PEAKED])
async def test_the_flat_and_the_peaked_row_fit_too(simulate: Simulate, row: int) -> None:
    backend = await simulate()
    counts = await first_tokens(backend, (row,), Sampling())
    assert is_fit(counts, backend.chain().probabilities(row))


async def test_the_test_of_fit_finds_a_temperature_that_is_a_fifth_too_high(simulate: Simulate) -> None:
    backend = await simulate()
    counts = await first_tokens(backend, (symbol("a"),), Sampling(temperature=1.2))
    assert not is_fit(counts, backend.chain().probabilities(symbol("a")))


async def test_later_tokens_depend_on_the_one_before_only(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0, context_length=100_000)
    output = await generate(backend, request("a", Sampling(seed=4, max_tokens=60_000)))
    tokens = output.ids()
    followers: dict[int, Counter[int]] = {}
    for before, after in pairwise(tokens):
        followers.setdefault(before, Counter())[after] += 1
    often = {token: counts for token, counts in followers.items() if counts.total() > 1000}
    assert len(often) > 10
    assert all(is_fit(counts, backend.chain().probabilities(token)) for token, counts in often.items())


async def test_penalties_follow_the_output(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0)
    sampling = Sampling(seed=2, max_tokens=40, temperature=0.0, repetition_penalty=1.5, frequency_penalty=1.0)
    output = await generate(backend, request("ab", sampling))
    tokens, previous = output.ids(), symbol("b")
    for place, token in enumerate(tokens):
        history = {"prompt": (0, 1), "output": tokens[:place]}
        assert backend.chain().probabilities(previous, sampling, **history)[token] == 1.0
        previous = token


async def test_greedy_takes_the_most_probable_token(simulate: Simulate) -> None:
    backend = await simulate()
    output = await generate(backend, request("q", Sampling(seed=1, temperature=0.0, max_tokens=1)))
    assert output.ids() == [PEAK]


async def test_the_same_seed_gives_the_same_output_and_another_one_does_not(simulate: Simulate) -> None:
    backend = await simulate()
    sampling = Sampling(seed=7, max_tokens=50, ignore_eos=True)
    first, again = [await generate(backend, request("abc", sampling)) for _ in range(2)]
    other = await generate(backend, request("abc", Sampling(seed=8, max_tokens=50, ignore_eos=True)))
    assert first == again
    assert first.ids() != other.ids()


async def test_without_a_seed_outputs_differ(simulate: Simulate) -> None:
    backend = await simulate()
    sampling = Sampling(max_tokens=50, ignore_eos=True)
    first, again = [await generate(backend, request("abc", sampling)) for _ in range(2)]
    assert first.ids() != again.ids()


async def test_output_does_not_depend_on_what_runs_beside_it(simulate: Simulate) -> None:
    backend = await simulate(inter_token_seconds=0.0005, jitter=1.0)
    wanted = [request("abc", Sampling(seed=seed, max_tokens=40, n=2), logprobs=1) for seed in range(6)]
    alone = [await generate(backend, one) for one in wanted]
    together = await asyncio.gather(*(generate(backend, one) for one in wanted))
    for before, beside in zip(alone, together, strict=True):
        assert [beside.ids(0), beside.ids(1)] == [before.ids(0), before.ids(1)]


async def test_a_longer_output_begins_like_a_shorter_one(simulate: Simulate) -> None:
    backend = await simulate(end_probability=0.0)
    short, long = [await generate(backend, request("a", Sampling(seed=1, max_tokens=m))) for m in (16, 64)]
    assert long.ids()[:16] == short.ids()


async def test_a_sequence_is_the_same_among_several(simulate: Simulate) -> None:
    backend = await simulate()
    one, three = [await generate(backend, request("a", Sampling(seed=1, max_tokens=9, n=n))) for n in (1, 3)]
    assert one.ids(0) == three.ids(0)


async def test_written_text_is_whole_characters_unless_it_is_cut(simulate: Simulate) -> None:
    backend = await simulate(context_length=20_000)
    output = await generate(backend, request("a", Sampling(seed=1, max_tokens=10_000, ignore_eos=True)))
    assert "\ufffd" not in output.raw()[:-4].decode(errors="ignore")
    assert len(output.raw()) - len(output.raw().decode(errors="ignore").encode()) < 4
    assert detokenise(output.ids()) == output.raw()
    assert any(isinstance(delta.text, bytes) for delta in output.deltas)


def test_a_table_gives_each_token_its_share_of_the_unit_interval() -> None:
    table = Table((0.25, 0.0, 0.5, 0.25))
    assert [table.draw(number) for number in (0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999999)] == [0, 0, 2, 2, 3, 3]


def test_requests_with_equal_sampling_share_their_tables() -> None:
    sampler = Sampler(Chain())
    first = sampler.tables(Sampling(seed=1, max_tokens=5, top_k=3, logit_bias={1: 2.0}), is_masked=False)
    assert sampler.tables(Sampling(seed=2, max_tokens=9, top_k=3, logit_bias={1: 2.0}), is_masked=False) is first
    assert sampler.tables(Sampling(top_k=3, logit_bias={1: 2.5}), is_masked=False) is not first
    assert sampler.tables(Sampling(top_k=3, logit_bias={1: 2.0}), is_masked=True) is not first


def test_only_so_many_tables_are_kept() -> None:
    sampler = Sampler(Chain())
    for count in range(TABLE_LIMIT + 5):
        sampler.tables(Sampling(top_k=count), is_masked=False)
    assert len(sampler._tables) == TABLE_LIMIT
