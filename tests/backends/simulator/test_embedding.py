"""Embeddings."""

import math

import pytest

from bellhousing.errors import ContextOverflow
from bellhousing_simulator.embedding import DIMENSION, embedding
from tests.backends.simulator.conftest import Simulate


async def test_an_embedding_has_16_numbers_and_length_one(simulate: Simulate) -> None:
    found = await (await simulate()).embed("some text", truncate=False)
    assert len(found.values) == DIMENSION == 16
    assert math.hypot(*found.values) == pytest.approx(1)
    assert (found.prompt_tokens, found.truncated) == (9, False)


async def test_text_and_its_ids_have_the_same_embedding(simulate: Simulate) -> None:
    backend = await simulate()
    ids = [token.id for token in await backend.tokenize("é Zoë", add_special=True)]
    assert await backend.embed("é Zoë", truncate=False) == await backend.embed(ids, truncate=False)


def test_an_embedding_depends_on_counts_and_on_the_seed_and_not_on_order() -> None:
    assert embedding([1, 2, 2], 0) == embedding([2, 1, 2], 0)
    assert embedding([1, 2, 2], 0) != pytest.approx(embedding([1, 1, 2], 0))
    assert embedding([1], 0) != pytest.approx(embedding([1], 1))


def test_texts_that_share_tokens_are_nearer_than_others() -> None:
    def cosine(first: list[int], second: list[int]) -> float:
        pairs = zip(embedding(first, 0), embedding(second, 0), strict=True)
        return sum(a * b for a, b in pairs)

    assert cosine([1, 2, 3, 4], [1, 2, 3, 5]) > cosine([1, 2, 3, 4], [6, 7, 8, 9])


async def test_too_long_an_input_is_refused_or_cut_at_the_caller_s_wish(simulate: Simulate) -> None:
    backend = await simulate(context_length=4)
    with pytest.raises(ContextOverflow) as refused:
        await backend.embed("abcde", truncate=False)
    assert (refused.value.prompt_tokens, refused.value.context_length) == (5, 4)
    cut = await backend.embed("abcde", truncate=True)
    assert (cut.prompt_tokens, cut.truncated) == (4, True)
    assert cut.values == (await backend.embed("abcd", truncate=False)).values
