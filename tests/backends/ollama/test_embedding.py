"""Embeddings of the real Ollama: it takes a model whose file says how to pool for one that embeds."""

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bellhousing.errors import BellhousingError, InvalidRequest
from bellhousing.testing import Served, serving
from bellhousing_ollama import OllamaBackend
from tests.backends.ollama.conftest import CONTEXT, options
from tests.gguf_file import with_number

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
MEAN = 1
"""The pooling of llama.cpp that takes the mean over the tokens."""
DIMENSIONS = 576


@pytest.fixture(scope="module")
def embedder_path(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model, made one that embeds."""
    path = tmp_path_factory.mktemp("model") / "embedder.gguf"
    path.write_bytes(with_number(model_path.read_bytes(), "llama.pooling_type", MEAN))
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedder(embedder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server over an Ollama with that model."""
    chosen, model = options(tmp_path_factory.mktemp("store")), {"name": "embedder", "model": str(embedder_path)}
    async with serving(OllamaBackend, options=chosen, model=model) as running:
        yield running


async def test_a_vector_is_as_long_as_the_model_is_wide_and_has_length_one(embedder: Served) -> None:
    found = await embedder.client.embed(["The sky is blue."])
    values = list(found.embeddings[0].values)
    assert len(values) == DIMENSIONS
    assert math.isclose(sum(value * value for value in values), 1, abs_tol=1e-3)


async def test_texts_of_like_meaning_are_nearer_than_others(embedder: Served) -> None:
    found = await embedder.client.embed(["The cat sleeps.", "A cat is sleeping.", "Stock prices fell by 4 %."])
    cat, same, other = (list(each.values) for each in found.embeddings)
    assert sum(a * b for a, b in zip(cat, same, strict=True)) > sum(a * b for a, b in zip(cat, other, strict=True))


async def test_tokens_of_the_prompt_are_counted(embedder: Served) -> None:
    short, long = [await embedder.client.embed(["word " * count]) for count in (2, 20)]
    assert 0 < short.usage.prompt_tokens < long.usage.prompt_tokens


async def test_a_text_beyond_the_context_is_refused_and_not_cut(embedder: Served) -> None:
    with pytest.raises(InvalidRequest):
        await embedder.client.embed(["word " * 2 * CONTEXT])


async def test_a_model_that_embeds_does_not_generate(embedder: Served) -> None:
    with pytest.raises(BellhousingError) as caught:
        await embedder.client.complete("a", max_tokens=1)
    assert caught.value.message
