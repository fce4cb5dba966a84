"""The same promises with a real router: `BELLHOUSING_TGI_URL=http://127.0.0.1:3000 pytest -m tgi_live`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from bellhousing.errors import ContextOverflow, InvalidRequest, NotFound
from bellhousing.testing import BackendSuite, Served, serving
from bellhousing.testing.probe import Probe, probing
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_tgi import AttachedTgiBackend
from tests.backends.tgi.conftest import LIVE_URL

pytestmark = [pytest.mark.tgi_live, pytest.mark.asyncio, pytest.mark.timeout(300)]
PROMPT = "The capital of France is"


@pytest.fixture
async def live() -> AsyncIterator[Served]:
    async with serving(AttachedTgiBackend, options={"url": LIVE_URL}) as served:
        yield served


async def test_greedy_text_repeats_and_counts_its_tokens(live: Served) -> None:
    answers = [await live.client.complete(PROMPT, max_tokens=8, temperature=0, logprobs=2) for _ in range(2)]
    assert answers[0].outputs[0].text == answers[1].outputs[0].text
    assert len(answers[0].outputs[0].token_ids) == answers[0].finished.usage.completion_tokens <= 8
    assert all(len(entry.top) == 2 for entry in answers[0].outputs[0].logprobs)


async def test_a_chat_is_answered_and_its_prompt_counted_as_the_router_does(live: Served) -> None:
    chat = [{"role": "user", "content": "Say hello."}]
    answer = await live.client.complete(messages=chat, max_tokens=8, temperature=0)
    assert answer.finished.usage.prompt_tokens == answer.started.prompt_tokens


async def test_a_stop_string_is_not_in_the_text(live: Served) -> None:
    text = (await live.client.complete(PROMPT, max_tokens=12, temperature=0)).outputs[0].text
    stop = text.split()[-1]
    answer = await live.client.complete(PROMPT, max_tokens=12, temperature=0, stop=[stop])
    assert answer.outputs[0].text == text[: text.index(stop)]
    assert answer.finished.sequences[0].finish_reason == pb.FINISH_REASON_STOP_STRING


async def test_what_is_out_of_range_or_unknown_is_refused_and_the_router_goes_on(live: Served) -> None:
    with pytest.raises(InvalidRequest):
        await live.client.complete(PROMPT, max_tokens=2, regex="([")
    with pytest.raises((NotFound, InvalidRequest)):
        await live.client.complete(PROMPT, max_tokens=2, adapter="no-such-adapter")
    with pytest.raises(ContextOverflow):
        await live.client.complete("word " * (live.model.info.context_length + 1), max_tokens=2)
    assert (await live.client.complete(PROMPT, max_tokens=2)).outputs


async def test_a_client_that_leaves_ends_the_work(live: Served) -> None:
    stream = live.client.generate(PROMPT, max_tokens=500, temperature=1.0)
    await anext(aiter(stream))
    await stream.aclose()
    async with asyncio.timeout(30):
        while (await live.client.load()).engine_running:
            await asyncio.sleep(0.1)


class TestLive(BackendSuite):
    """What core relies on, with the real router."""

    pytestmark: ClassVar[Any] = pytestmark
    backend = AttachedTgiBackend
    prompt = PROMPT

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[Probe]:
        async with probing(self.backend, {"url": LIVE_URL}, None, self.prompt, self.seconds) as probe:
            yield probe

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        async with serving(self.backend, options={"url": LIVE_URL}) as served:
            yield served
