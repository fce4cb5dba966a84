"""An engine with other options: what it was given is what it does; and its life: refused, drained, loaded again."""

import asyncio
import shutil
from pathlib import Path

import pytest

from bellhousing.errors import BellhousingError, ConfigurationError, EngineUnavailable
from bellhousing.testing import Served, serving
from bellhousing_vllm import VllmBackend
from tests.backends.vllm.conftest import FRANCE, OPTIONS

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SPECULATIVE = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
LIST = "apple, pear, plum, apple, pear, plum, apple, pear, plum, apple, pear, plum, apple, pear,"


async def test_speculation_gives_the_same_tokens_and_tells_what_was_accepted_and_a_drain_lets_streams_end(
    model_path: Path, served: Served
) -> None:
    options = OPTIONS | {"context_length": 512, "kv_cache_gib": 0.25, "lora": {}, "speculative": SPECULATIVE}
    model = {"name": "smollm2", "model": str(model_path), "batching": {"max_sequences": 4}}
    async with serving(VllmBackend, options=options, model=model) as speculating:
        plain, drafted = [
            (await one.client.complete(LIST, max_tokens=24, temperature=0, ignore_eos=True)).outputs[0]
            for one in (served, speculating)
        ]
        assert drafted.token_ids == plain.token_ids
        assert 0 < (await speculating.client.load()).speculative_acceptance <= 1
        await drained_while_it_streams(speculating)
        [_ async for _ in speculating.client.load_model("smollm2")]
        answer = await speculating.client.complete(FRANCE, max_tokens=2, temperature=0)
        assert answer.outputs[0].text == " Paris."


async def drained_while_it_streams(served: Served) -> None:
    """Unload the model under a stream: the stream ends well, what comes later is refused."""

    async def stream() -> int:
        count = 0
        async for delta in served.client.generate(FRANCE, max_tokens=100, ignore_eos=True):
            count += delta.token_count
            has_started.set()
        return count

    has_started = asyncio.Event()
    running = asyncio.create_task(stream())
    await has_started.wait()
    unloading = asyncio.create_task(served.model.unload(grace_seconds=60))
    async with asyncio.timeout(5):
        while await served.client.is_serving():
            await asyncio.sleep(0.02)
    with pytest.raises(EngineUnavailable):
        await served.client.complete(FRANCE, max_tokens=1)
    assert await running == 100
    await unloading


async def test_a_topology_that_cannot_be_is_refused_with_the_reason(model_path: Path) -> None:
    model = {"name": "m", "model": str(model_path), "parallelism": {"tensor": 2}}
    with pytest.raises(
        ConfigurationError, match="expected a divisor of the model's 9 attention heads, found 2"
    ) as caught:
        async with serving(VllmBackend, model=model):
            pass
    assert caught.value.reason == "PARALLELISM"


async def test_a_model_without_a_tokenizer_is_refused(model_path: Path, tmp_path: Path) -> None:
    shutil.copytree(model_path, tmp_path / "m", ignore=shutil.ignore_patterns("tokenizer*", "vocab*", "merges*"))
    with pytest.raises(BellhousingError, match="expected a tokenizer, one of") as caught:
        async with serving(VllmBackend, model={"name": "m", "model": str(tmp_path / "m")}):
            pass
    assert caught.value.reason == "INVALID_MODEL"
