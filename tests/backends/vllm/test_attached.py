"""A vLLM server that someone else started, behind the same contract."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psutil
import pytest
import pytest_asyncio

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineUnavailable,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
)
from bellhousing.testing import BackendSuite, Served, serving
from bellhousing.testing.probe import Probe, probing
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_vllm.attached import AttachedVllmBackend
from tests.backends.peft import halves, write_adapter
from tests.backends.vllm.conftest import CONTEXT, FRANCE, PROMPT
from tests.engines.vllm import end, vllm_server

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

LAYERS, WIDTH = 30, 576


@pytest.fixture(scope="module")
def vllm_url(model_path: Path) -> Iterator[str]:
    """The address of a running vLLM server, as its users start it."""
    with vllm_server(model_path, CONTEXT) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def attached(vllm_url: str, adapters_path: Path) -> AsyncIterator[Served]:
    model = {"name": "smollm2", "adapter_roots": [str(adapters_path)], "batching": {"max_sequences": 16}}
    async with serving(AttachedVllmBackend, options={"url": vllm_url}, model=model) as served:
        yield served


async def test_text_ids_and_chat_are_answered_as_by_our_own_engine(attached: Served, served: Served) -> None:
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = (await attached.client.tokenize(FRANCE)).token_ids
    prompts: list[dict[str, Any]] = [{"prompt": FRANCE}, {"prompt": ids}, {"messages": chat}]
    for prompt in prompts:
        ours, theirs = [await one.client.complete(**prompt, max_tokens=24, temperature=0) for one in (served, attached)]
        assert ours.outputs[0].text == theirs.outputs[0].text
        assert ours.outputs[0].token_ids == theirs.outputs[0].token_ids
        assert ours.finished.sequences == theirs.finished.sequences
        assert ours.finished.usage.prompt_tokens == theirs.finished.usage.prompt_tokens


async def test_tokens_have_the_same_bytes_as_in_our_own_engine(attached: Served, served: Served) -> None:
    text = "Grüße aus 世界!\n\tdef f(x): return 🙂"
    ours, theirs = [await one.client.tokenize(text, with_pieces=True) for one in (served, attached)]
    assert list(theirs.token_ids) == list(ours.token_ids)
    assert list(theirs.pieces) == list(ours.pieces)
    assert await attached.client.detokenize(theirs.token_ids) == text


async def test_log_probabilities_are_those_of_our_own_engine(attached: Served, served: Served) -> None:
    ours, theirs = [
        (await one.client.complete(FRANCE, max_tokens=8, temperature=0, logprobs=3)).outputs[0].logprobs
        for one in (served, attached)
    ]
    assert [entry.id for entry in theirs] == [entry.id for entry in ours]
    assert [entry.token for entry in theirs] == [entry.token for entry in ours]
    assert [entry.logprob for entry in theirs] == pytest.approx([entry.logprob for entry in ours], abs=0.05)
    assert all(len(entry.top) == 3 for entry in theirs)


async def test_several_seeded_sequences_come_apart(attached: Served) -> None:
    answers = [
        await attached.client.complete("Once upon a time", max_tokens=12, temperature=1.0, n=3, seed=3)
        for _ in range(2)
    ]
    texts = [output.text for output in answers[0].outputs]
    assert len(set(texts)) == 3
    assert texts == [output.text for output in answers[1].outputs]


@pytest.mark.parametrize(
    ("form", "allowed"),
    [
        ({"regex": r"(yes|no)[.!]"}, {"yes.", "no.", "yes!", "no!"}),
        ({"choice": ["red", "green"]}, {"red", "green"}),
    ],
)
async def test_the_form_of_the_output_is_kept(attached: Served, form: dict[str, Any], allowed: set[str]) -> None:
    answer = await attached.client.complete(FRANCE, max_tokens=16, **form)
    assert answer.outputs[0].text in allowed


async def test_a_bad_regex_and_an_id_outside_the_vocabulary_are_refused(attached: Served) -> None:
    with pytest.raises(InvalidRequest, match=r"structured_output\.regex"):
        await attached.client.complete(FRANCE, max_tokens=4, regex="(")
    with pytest.raises(InvalidRequest):
        await attached.client.complete([10_000_000], max_tokens=4)
    assert (await attached.client.complete(FRANCE, max_tokens=2, temperature=0)).outputs[0].text == " Paris."


async def test_what_the_api_cannot_do_is_refused_by_name(attached: Served) -> None:
    with pytest.raises(InvalidRequest, match=r"logprobs\.prompt_top"):
        await attached.client.complete(FRANCE, max_tokens=4, prompt_logprobs=1)


async def test_a_prompt_beyond_the_context_is_refused(attached: Served) -> None:
    with pytest.raises(ContextOverflow):
        await attached.client.complete("one " * (CONTEXT + 8), max_tokens=4)


async def test_the_end_of_the_context_is_told_from_max_tokens(attached: Served) -> None:
    answer = await attached.client.complete("one " * (CONTEXT - 64), ignore_eos=True)
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_CONTEXT_LENGTH


async def test_an_adapter_is_loaded_used_and_unloaded(attached: Served, adapters_path: Path) -> None:
    write_adapter(adapters_path / "remote", halves(LAYERS, WIDTH), seed=5)
    await attached.client.register_adapter("remote", (adapters_path / "remote").as_uri())
    base = await attached.client.complete(FRANCE, max_tokens=12, temperature=0)
    await attached.client.load_adapter("remote")
    adapted = await attached.client.complete(FRANCE, max_tokens=12, temperature=0, adapter="remote")
    assert adapted.outputs[0].text != base.outputs[0].text
    await attached.client.unload_adapter("remote", forget=True)
    with pytest.raises(NotFound):
        await attached.client.complete(FRANCE, max_tokens=2, adapter="remote")


async def test_an_adapter_left_over_from_before_is_loaded_anew(
    attached: Served, vllm_url: str, adapters_path: Path
) -> None:
    path = write_adapter(adapters_path / "left-over", halves(LAYERS, WIDTH), seed=6)
    async with httpx.AsyncClient(base_url=vllm_url, timeout=60) as direct:
        body = {"lora_name": "left-over", "lora_path": str(path)}
        (await direct.post("/v1/load_lora_adapter", json=body)).raise_for_status()
    await attached.client.register_adapter("left-over", path.as_uri())
    await attached.client.load_adapter("left-over")
    assert await attached.client.complete(FRANCE, max_tokens=2, adapter="left-over")
    await attached.client.unload_adapter("left-over", forget=True)


async def test_an_adapter_that_the_server_refuses_is_an_error(attached: Served, adapters_path: Path) -> None:
    write_adapter(adapters_path / "wide", halves(LAYERS, WIDTH, rank=64), seed=5)
    await attached.client.register_adapter("wide", (adapters_path / "wide").as_uri())
    with pytest.raises(PreconditionFailed, match="wide"):
        await attached.client.load_adapter("wide")
    assert (await attached.client.complete(FRANCE, max_tokens=2, temperature=0)).outputs[0].text == " Paris."


async def test_a_cancelled_request_ends_in_the_server_too(attached: Served) -> None:
    stream = attached.client.generate(FRANCE, max_tokens=900, ignore_eos=True)
    await anext(aiter(stream))
    assert (await attached.client.load()).kv_cache_usage > 0
    await stream.aclose()
    async with asyncio.timeout(30):
        while (await attached.client.load()).kv_cache_usage > 0:
            await asyncio.sleep(0.1)


class TestAttached(BackendSuite):
    """What core relies on, with the real server."""

    pytestmark: ClassVar[Any] = pytestmark
    backend = AttachedVllmBackend
    prompt = PROMPT

    @pytest_asyncio.fixture(loop_scope="session", autouse=True)
    async def share(self, attached: Served, vllm_url: str) -> None:
        self.attached = attached
        self.url = vllm_url

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[Probe]:
        async with probing(self.backend, {"url": self.url}, None, self.prompt, self.seconds) as probe:
            yield probe

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        yield self.attached


async def test_a_server_that_ends_is_an_engine_that_died(attached: Served, vllm_url: str) -> None:
    port = int(vllm_url.rsplit(":", 1)[1])
    listening = (found for found in psutil.net_connections("tcp") if found.status == "LISTEN")
    pid = next(found.pid for found in listening if found.laddr[1:] == (port,))
    assert pid is not None

    async def stream() -> None:
        async for _ in attached.client.generate(FRANCE, max_tokens=900, ignore_eos=True):
            started.set()

    started = asyncio.Event()
    running = asyncio.create_task(stream())
    await started.wait()
    end(pid)
    with pytest.raises(EngineUnavailable):
        await running
    async with asyncio.timeout(30):
        while await attached.client.is_serving():
            await asyncio.sleep(0.1)
    with pytest.raises(BellhousingError):
        await attached.client.complete(FRANCE, max_tokens=2)
