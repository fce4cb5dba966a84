"""What a client of ours gets when a router misbehaves: a real server in front of a scripted router."""

import asyncio
from typing import Any

import pytest

from bellhousing.client.failures import is_partial
from bellhousing.errors import (
    BellhousingError,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    StreamBroken,
)
from tests.backends.tgi.conftest import PROMPT, STREAM, Attached
from tests.engines.faults import (
    Fault,
    bad_frame,
    comments,
    cut,
    cut_characters,
    html,
    instead,
    joined,
    no_end,
    slow_bytes,
)
from tests.engines.server import as_json, whole
from tests.engines.tgi import COMMENT, error_frame, event

TOKEN = {"id": 1, "text": "a", "logprob": -1.0, "special": False}
WHOLE = {"finish_reason": "length", "generated_tokens": 1, "seed": None, "input_length": 3}

BROKEN: dict[str, tuple[Fault, type[BellhousingError], bool]] = {
    "cut before the first token": (cut(0), EngineUnavailable, False),
    "cut after three tokens": (cut(3), EngineUnavailable, True),
    "an end without an end": (no_end(3), StreamBroken, True),
    "an empty stream": (no_end(0), StreamBroken, False),
    "no JSON": (bad_frame(2, b"data: {\n\n"), EngineFault, True),
    "JSON that is no object": (bad_frame(2, b"data: []\n\n"), EngineFault, True),
    "an event without a token": (bad_frame(0, event({"index": 1})), EngineFault, False),
    "a token without an id": (bad_frame(0, event({"token": {}, "details": None})), EngineFault, False),
    "a line that is no event": (bad_frame(1, b"oops\n\n"), EngineFault, True),
    "an end for an unknown reason": (
        bad_frame(0, event({"token": TOKEN, "generated_text": "a", "details": {**WHOLE, "finish_reason": "tired"}})),
        EngineFault,
        False,
    ),
    "an end without a reason": (
        bad_frame(0, event({"token": TOKEN, "generated_text": "a", "details": None})),
        EngineFault,
        False,
    ),
    "an event after the end": (
        bad_frame(12, event({"token": TOKEN, "generated_text": None, "details": None})),
        EngineFault,
        True,
    ),
    "an error of generation": (bad_frame(2, error_frame("boom", "generation")), EngineFault, True),
    "an error of an unknown type": (bad_frame(2, error_frame("boom", "surprise")), EngineFault, True),
    "a generation that is lost": (bad_frame(2, error_frame("x", "incomplete_generation")), StreamBroken, True),
    "an overloaded router": (bad_frame(0, error_frame("Model is overloaded", "overloaded")), Overloaded, False),
    "a refusal in the stream": (bad_frame(0, error_frame("`top_k` must be", "validation")), InvalidRequest, False),
    "a proxy's page": (html(502), EngineUnavailable, False),
    "a page with status 200": (html(200), EngineFault, False),
    "a whole answer for a stream": (instead(as_json({"generated_text": "a"})), EngineFault, False),
    "a wrong key": (instead(whole(b"", "", status=401)), PermissionDenied, False),
    "overloaded by status": (instead(whole(b"", "", status=429)), Overloaded, False),
}
WHOLESOME: dict[str, Fault] = {
    "slow bytes": slow_bytes(0),
    "chunks that end inside characters": cut_characters(),
    "all events in one chunk": joined(),
    "comments between events": comments(COMMENT),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_router_that_fails_is_an_error_of_the_right_kind(attached: Attached, name: str) -> None:
    fault, kind, has_output = BROKEN[name]
    attached.router.fault(STREAM, fault)
    client = attached.served.client
    texts = []
    with pytest.raises(BellhousingError) as raised:  # noqa: PT012 - the loop is what raises, after some turns
        async for delta in client.generate(PROMPT, max_tokens=12):
            texts.append(delta.text)
    assert type(raised.value) is kind
    assert raised.value.backend in {"tgi-attached", ""}
    assert is_partial(raised.value) == has_output == bool(texts)
    answer = await client.complete(PROMPT, max_tokens=4, temperature=0)
    assert answer.finished.usage.completion_tokens == 4


@pytest.mark.parametrize("name", WHOLESOME)
async def test_how_bytes_come_changes_no_text(attached: Attached, name: str) -> None:
    client = attached.served.client
    right = await client.complete(PROMPT, max_tokens=30, temperature=0, logprobs=2)
    attached.router.fault(STREAM, WHOLESOME[name])
    answer = await client.complete(PROMPT, max_tokens=30, temperature=0, logprobs=2)
    assert answer.outputs[0].text == right.outputs[0].text
    assert list(answer.outputs[0].token_ids) == list(right.outputs[0].token_ids)
    assert not right.outputs[0].text.isascii()


@pytest.mark.parametrize("path", ["/tokenize", "/chat_tokenize"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (html(200), EngineFault),
        (html(503), EngineUnavailable),
        (instead(as_json({"nothing": 1})), EngineFault),
        (instead(as_json([{"text": "a"}])), EngineFault),
        (instead(as_json({"error": "no template", "error_type": "template_error"}, status=422)), InvalidRequest),
        (cut(0), EngineUnavailable),
    ],
)
async def test_a_prompt_that_cannot_be_prepared_is_an_error(
    attached: Attached, path: str, fault: Fault, kind: type[BellhousingError]
) -> None:
    attached.router.fault(path, fault)
    prompts: dict[str, Any] = {
        "/tokenize": {"prompt": PROMPT},
        "/chat_tokenize": {"messages": [{"role": "user", "content": "a"}]},
    }
    with pytest.raises(BellhousingError) as raised:
        await attached.served.client.complete(**prompts[path], max_tokens=4)
    assert type(raised.value) is kind


async def test_a_router_that_is_gone_is_an_engine_that_died_and_is_attached_again(attached: Attached) -> None:
    client = attached.served.client
    attached.router.hold = 3

    async def stream() -> None:
        async for _ in client.generate(PROMPT, max_tokens=12):
            started.set()

    started = asyncio.Event()
    running = asyncio.create_task(stream())
    async with asyncio.timeout(30):
        await started.wait()
        await attached.http.close()
        with pytest.raises(EngineUnavailable):
            await running
        while await client.is_serving():
            await asyncio.sleep(0.05)
        attached.router.hold = None
        await attached.http.open()
        while not await client.is_serving():
            await asyncio.sleep(0.05)
    assert (await client.complete(PROMPT, max_tokens=4)).finished.usage.completion_tokens == 4


async def test_a_generation_that_fails_because_the_shard_is_dead_says_so(attached: Attached) -> None:
    attached.router.fault(STREAM, bad_frame(1, error_frame("transport error", "generation")))
    attached.router.is_healthy = False
    with pytest.raises(EngineUnavailable, match="engine died"):
        await attached.served.client.complete(PROMPT, max_tokens=4)


async def test_a_client_that_leaves_ends_the_work_in_the_router(attached: Attached) -> None:
    attached.router.hold = 3
    stream = attached.served.client.generate(PROMPT, max_tokens=12)
    await anext(aiter(stream))
    assert attached.router.running == 1
    await stream.aclose()
    async with asyncio.timeout(10):
        while attached.router.running:
            await asyncio.sleep(0.01)
    assert attached.router.left == 1
