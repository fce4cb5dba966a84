"""Two ranks give what one gives: a small random Llama, whole and sharded over processes."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bellhousing.process import ProcessBackend
from bellhousing.testing import Served, serving
from bellhousing_vllm import VllmBackend

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TOKENS = 12
TOLERANCE = 1e-4
PROMPT = [5, 600, 70, 8000, 900, 11, 12, 1300]


@pytest.fixture(scope="module")
def tiny_llama(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 4 heads and 2 key-value heads, with the real model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    path = tmp_path_factory.mktemp("tiny-llama")
    shutil.copytree(model_path, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(model_path)),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@asynccontextmanager
async def llama(path: Path, parallelism: dict[str, int], **options: Any) -> AsyncIterator[Served]:
    plain = {"eager": True, "dtype": "float32", "context_length": 256, "kv_cache_gib": 0.125}
    model = {"name": "tiny", "model": str(path), "parallelism": parallelism, "batching": {"max_sequences": 4}}
    async with serving(VllmBackend, options=plain | options, model=model) as served:
        yield served


async def tokens_of(served: Served) -> tuple[list[int], list[float]]:
    """Return the greedy tokens after the prompt with their log probabilities."""
    answer = await served.client.complete(PROMPT, max_tokens=TOKENS, temperature=0, ignore_eos=True, logprobs=1)
    found = answer.outputs[0].logprobs
    assert len(found) == TOKENS
    return [token.id for token in found], [token.logprob for token in found]


def workers(served: Served) -> list[psutil.Process]:
    backend = served.model.backend
    assert isinstance(backend, ProcessBackend)
    return psutil.Process(backend.pid).children(recursive=True)


async def test_two_tensor_parallel_ranks_give_the_log_probabilities_of_one(tiny_llama: Path) -> None:
    async with llama(tiny_llama, {}) as served:
        alone = await tokens_of(served)
    async with llama(tiny_llama, {"tensor": 2}, cpu_threads_bind="0|1") as served:
        sharded = await tokens_of(served)
        told = (await served.client.model()).parallelism
        assert (told.tensor_requested, told.tensor_effective) == (2, 2)
        family = workers(served)
        ranks = [process for process in family if "VLLM::Worker" in " ".join(process.cmdline())]
        assert len(ranks) == 2, "expected a process for each rank"
    assert sharded[0] == alone[0]
    assert sharded[1] == pytest.approx(alone[1], abs=TOLERANCE)
    left = psutil.wait_procs(family, 10)[1]
    assert not left, "nothing is left behind"
