"""Ten thousand generated requests: whatever a client sends, the answer is a status that blames nobody falsely."""

import asyncio
import random
from collections import Counter
from typing import Any

import grpc
import pytest

from bellhousing.testing import Served
from bellhousing.v1 import inference_pb2 as pb
from tests.core.conftest import Serve

REQUESTS, AT_ONCE, SEED = 10_000, 32, 20_240_607
NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
NUMBERS: list[float] = [0, 1, -1, 0.5, 2, 1e-9, 1e300, -1e300, float("inf"), float("-inf"), float("nan"), 100, 3]
COUNTS = [0, 1, 2, 5, 64, 2**31, 2**32 - 1]
TEXTS = ["", "a", "the end", "\x00", "😀é日本", "a" * 500, "\n\n", "}{", "\u202eabc", "q." * 40]


def maybe(draw: random.Random, chance: float = 0.15) -> bool:
    return draw.random() < chance


def sampling(draw: random.Random) -> pb.Sampling:
    message = pb.Sampling(max_tokens=draw.choice([1, 2, 8, 16]))
    for descriptor in pb.Sampling.DESCRIPTOR.fields:
        if descriptor.name == "logit_bias":
            if maybe(draw, 0.1):
                message.logit_bias.update({draw.choice(COUNTS): draw.choice(NUMBERS)})
        elif maybe(draw):
            is_number = descriptor.type == descriptor.TYPE_DOUBLE
            value: Any = draw.choice(NUMBERS) if is_number else draw.choice(COUNTS)
            setattr(message, descriptor.name, bool(value) if descriptor.type == descriptor.TYPE_BOOL else value)
    return message


def structured(draw: random.Random) -> pb.StructuredOutput:
    kind = draw.choice(["json_schema", "json_object", "regex", "grammar", "choice"])
    if kind == "choice":
        return pb.StructuredOutput(choice=pb.StructuredOutput.Choice(options=draw.sample(TEXTS, draw.randint(0, 3))))
    if kind == "json_object":
        return pb.StructuredOutput(json_object=maybe(draw, 0.5))
    text = draw.choice([*TEXTS, "{}", "[", '{"type":"object"}', "[" * 5000])
    return pb.StructuredOutput(**{kind: text})  # type: ignore[arg-type]


def request(draw: random.Random) -> pb.GenerateRequest:
    message = pb.GenerateRequest(sampling=sampling(draw))
    kind = draw.choice(["text", "text", "text", "token_ids", "chat", "none"])
    if kind == "text":
        message.text = draw.choice(TEXTS)
    elif kind == "token_ids":
        message.token_ids.ids.extend(draw.choices([0, 3, 64, 320, 321, 2**32 - 1], k=draw.randint(0, 4)))
    elif kind == "chat":
        for _ in range(draw.randint(0, 3)):
            message.chat.messages.add(role=draw.randint(0, 6), content=draw.choice(TEXTS))
        if maybe(draw):
            message.chat.template_arguments.update({"a": draw.choice(TEXTS)})
    if maybe(draw, 0.2):
        message.stopping.strings.extend(draw.choices(TEXTS, k=draw.randint(1, 20)))
    if maybe(draw, 0.1):
        message.stopping.token_ids.extend(draw.choices(COUNTS, k=draw.randint(1, 70)))
    if maybe(draw, 0.1):
        message.logprobs.top = draw.choice(COUNTS)
    if maybe(draw, 0.1):
        message.structured_output.CopyFrom(structured(draw))
    rest(message, draw)
    return message


def rest(message: pb.GenerateRequest, draw: random.Random) -> None:
    if maybe(draw, 0.05):
        message.model = draw.choice(TEXTS)
    if maybe(draw, 0.05):
        message.adapter = draw.choice(TEXTS)
    if maybe(draw, 0.1):
        message.priority = draw.randint(-3, 9)  # type: ignore[assignment]
    if maybe(draw, 0.1):
        message.time_budget.seconds = draw.choice([0, -1, 1, 10**9])
    if maybe(draw, 0.1):
        message.request_id = draw.choice([*TEXTS, "x" * 200])
    message.stream.coalescing = draw.choice([0, 1, 2, 7])  # type: ignore[assignment]
    message.best_effort = maybe(draw, 0.3)


async def answer(served: Served, message: pb.GenerateRequest) -> grpc.StatusCode:
    """Return the status of a request; a stream that succeeds must be whole."""
    call = served.client._stubs.inference.Generate(message, timeout=20)
    kinds: list[str | None] = []
    try:
        async for response in call:
            kinds.append(response.WhichOneof("event"))
    except grpc.aio.AioRpcError as error:
        assert "finished" not in kinds
        return error.code()
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert set(kinds[1:-1]) <= {"delta"}
    return grpc.StatusCode.OK


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_generated_requests_never_end_with_internal_or_unknown(serving: Serve) -> None:
    draw = random.Random(SEED)
    found: Counter[grpc.StatusCode] = Counter()
    async with serving(options={"context_length": 256, "end_probability": 0.1}) as served:
        for _ in range(REQUESTS // AT_ONCE + 1):
            messages = [request(draw) for _ in range(AT_ONCE)]
            results = await asyncio.gather(*(answer(served, message) for message in messages))
            for message, code in zip(messages, results, strict=True):
                assert code not in NEVER, message
                found[code] += 1
        assert served.model.in_flight == {}
        assert served.model.admission.running == 0
    assert found.total() >= REQUESTS
    assert found[grpc.StatusCode.OK] > REQUESTS / 50, found
    assert found[grpc.StatusCode.INVALID_ARGUMENT] > REQUESTS / 50, found
