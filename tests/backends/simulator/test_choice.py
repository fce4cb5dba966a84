"""Structured output `choice`."""

from collections import Counter

import pytest

from bellhousing.requests import Sampling, StructuredOutput
from bellhousing_simulator.choice import Choice
from bellhousing_simulator.vocabulary import EOS, symbol
from tests.backends.simulator.conftest import Simulate, generate, request


def choice(*options: str) -> StructuredOutput:
    return StructuredOutput("choice", options=options)


@pytest.mark.parametrize("sampling", [{}, {"ignore_eos": True}, {"min_tokens": 50}, {"temperature": 0.0}])
async def test_the_output_is_always_one_of_the_options(simulate: Simulate, sampling: dict[str, float]) -> None:
    backend = await simulate()
    options = ("yes", "yes, sir", "NO", "日本語", "😀")
    for seed in range(20):
        fields: dict[str, object] = {"seed": seed, **sampling}
        wanted = request("a", Sampling(**fields), structured_output=choice(*options))  # type: ignore[arg-type]
        output = await generate(backend, wanted)
        assert output.raw().decode() in options
        assert output.reasons() == ["eos"]


async def test_the_model_chooses_by_its_own_probabilities(simulate: Simulate) -> None:
    backend = await simulate()
    row = backend.chain().probabilities(symbol("q"))
    share = row[symbol("u")] / (row[symbol("u")] + row[symbol("a")])
    counts: Counter[bytes] = Counter()
    for seed in range(10):
        wanted = request("q", Sampling(seed=seed, n=100), structured_output=choice("u", "a"))
        output = await generate(backend, wanted)
        counts.update(output.raw(index) for index in range(100))
    assert counts[b"u"] + counts[b"a"] == 1000
    assert abs(counts[b"u"] - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5 + 1


async def test_max_tokens_cuts_an_option(simulate: Simulate) -> None:
    backend = await simulate()
    output = await generate(backend, request("a", Sampling(seed=1, max_tokens=2), structured_output=choice("abcdef")))
    assert (output.raw(), output.reasons()) == (b"ab", ["max_tokens"])


async def test_log_probabilities_are_the_model_s_own_and_finite(simulate: Simulate) -> None:
    backend = await simulate()
    output = await generate(backend, request("a", structured_output=choice("Zb"), logprobs=0))
    entries = [entry for delta in output.deltas for entry in delta.logprobs]
    assert [entry.token for entry in entries] == [b"Z", b"b"]
    assert -60 < entries[0].logprob < -37


def test_an_option_that_begins_another_leaves_both_open() -> None:
    found = Choice(["a", "ab"])
    found.take(symbol("a"))
    assert found.allowed() == {EOS, symbol("b")}
    found.take(symbol("b"))
    assert found.allowed() == {EOS}
